"""Embeddings come of the same pass as the codes: one read, one decode, one transaction."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio.resampling import read_waveform
from core.decoding.audio_stream import Samples
from core.embeddings.embedder import Embedder
from core.embeddings.log_mel import log_mel_statistics
from core.errors import CheckpointMismatch
from db.runs import RunClaim
from flows.pipeline.clips.ingest import ingest
from flows.pipeline.clips.tokenize_clips import MAX_HELD_SECONDS, batches_to_tokenize, tokenize_batch
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.doctor import EXAMINATIONS
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Readable, canonical
from tests.flows.pipeline.conftest import hiss, new_run, rows, tone, write_clip
from tests.tiny_tagger import CLASSES, DIMENSIONS, TAGGER, write_tagger, write_waveform_model


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    return write_tagger(tmp_path / "models" / "tagger")


@pytest.fixture
def tagging(settings: Settings, tagger: Path) -> Iterator[Runtime]:
    """The same service with a tagger beside the codec."""
    runtime = Runtime(settings.model_copy(update={"embeddings": (str(tagger),)}))
    yield runtime
    runtime.close()


def tokenize_all(runtime: Runtime, folder: Path, run_id: RunClaim) -> Counts:
    place, counts = canonical(str(folder)), Counts()
    ingest(runtime, place)
    for batch in batches_to_tokenize(runtime, place, runtime.settings.batch_size):
        counts += tokenize_batch(runtime, runtime.readable(place), batch, run_id)
    return counts


def stored(runtime: Runtime) -> dict[str, Samples]:
    found = rows(runtime.engine, "SELECT uri, embedding FROM analytics.embeddings WHERE model <> 'log-mel'")
    return {str(uri): np.array(embedding, np.float32) for uri, embedding in found}


def test_stored_embeddings_are_those_of_the_model_for_clips_held_and_clips_streamed(
    tagging: Runtime, folder: Path, tagger: Path
) -> None:
    short = write_clip(folder / "short.wav", hiss(1.3, seed=1))
    long = write_clip(folder / "long.wav", hiss(MAX_HELD_SECONDS + 2.1, seed=2))
    assert tokenize_all(tagging, folder, new_run(tagging.engine)) == {"tokenized": 2}
    embedder = Embedder(tagger)
    for path in (short, long):
        waveform, _ = read_waveform(path, 16_000)
        (expected,) = embedder.embed([waveform[0, 0].numpy()])
        uri = canonical(str(path))
        assert np.array_equal(stored(tagging)[uri], expected.embedding)
        tags = rows(
            tagging.engine,
            "SELECT start_s, class, score FROM analytics.sound_tags WHERE uri = :uri"
            " ORDER BY start_s, score DESC",
            uri=uri,
        )
        assert len(tags) == len(expected.timed)
        assert [name for _, name, _ in tags[:3]] == [CLASSES[one.class_number] for one in expected.timed[:3]]
        assert tags[3][0] == TAGGER.hop / TAGGER.sample_rate


def test_clips_from_before_are_filled_in_and_their_codes_stay(
    runtime: Runtime, tagging: Runtime, folder: Path
) -> None:
    write_clip(folder / "a.wav", tone(440))
    tokenize_all(runtime, folder, new_run(runtime.engine))
    kept = rows(runtime.engine, "SELECT * FROM token_sequences")
    assert tokenize_all(tagging, folder, new_run(runtime.engine)) == {"tokenized": 1}
    assert rows(runtime.engine, "SELECT * FROM token_sequences") == kept
    assert stored(tagging)[canonical(str(folder / "a.wav"))].shape == (DIMENSIONS,)
    for service in (tagging, runtime):
        assert batches_to_tokenize(service, canonical(str(folder)), 100) == []


def test_log_mel_statistics_are_stored_with_the_codes_and_need_no_model(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    paths = [
        write_clip(folder / "a.wav", hiss(1.3)),
        write_clip(folder / "b.wav", hiss(MAX_HELD_SECONDS + 1)),
    ]
    tokenize_all(runtime, folder, run_id)
    found = rows(
        runtime.engine, "SELECT embedding FROM analytics.embeddings WHERE model = 'log-mel' ORDER BY uri"
    )
    for path, (embedding,) in zip(paths, found, strict=True):
        waveform, _ = read_waveform(path, 16_000)
        assert np.array_equal(np.array(embedding, np.float32), log_mel_statistics(waveform[0, 0].numpy()))


def test_clips_without_log_mel_statistics_are_read_again_only_for_who_needs_them(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(folder / "a.wav", tone(440))
    place = canonical(str(folder))
    with monkeypatch.context() as before:
        before.setitem(runtime.__dict__, "log_mel_id", None)
        tokenize_all(runtime, folder, run_id)
    assert runtime.log_mel_id is not None
    needed = [runtime.log_mel_id]
    assert batches_to_tokenize(runtime, place, 100) == []
    (batch,) = batches_to_tokenize(runtime, place, 100, needed)
    assert tokenize_batch(runtime, runtime.readable(place), batch, run_id, needed)["tokenized"] == 1
    assert batches_to_tokenize(runtime, place, 100, needed) == []
    assert rows(runtime.engine, "SELECT model FROM analytics.embeddings") == [("log-mel",)]


def test_each_clip_is_read_once(tagging: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write_clip(folder / f"{number}.wav", tone(440, seed=number))
    place = canonical(str(folder))
    ingest(tagging, place)
    storage, reads = tagging.readable(place), list[str]()

    class Counting:
        def read(self, uri: str, *version: object) -> object:
            reads.append(uri)
            return storage.read(uri, *version)  # type: ignore[arg-type]

    counting: Readable = Counting()  # type: ignore[assignment]
    (batch,) = batches_to_tokenize(tagging, place, 10)
    tokenize_batch(tagging, counting, batch, new_run(tagging.engine))
    assert len(reads) == len(set(reads)) == len(stored(tagging)) == 3


def test_several_models_are_kept_apart_and_one_named_twice_counts_once(
    settings: Settings, folder: Path, tagger: Path, tmp_path: Path
) -> None:
    waves = write_waveform_model(tmp_path / "models" / "waves")
    runtime = Runtime(settings.model_copy(update={"embeddings": (str(tagger), str(waves), str(tagger))}))
    write_clip(folder / "a.wav", tone(440))
    tokenize_all(runtime, folder, new_run(runtime.engine))
    question = "SELECT model FROM analytics.embeddings ORDER BY model"
    assert rows(runtime.engine, question) == [("log-mel",), ("tiny-tagger",), ("tiny-waves",)]
    assert rows(runtime.engine, "SELECT DISTINCT model FROM analytics.sound_tags") == [("tiny-tagger",)]
    assert len(runtime.embedders) == len(runtime.embedding_model_ids) == 2
    runtime.close()


def test_a_model_of_another_rate_than_the_codec_is_refused(settings: Settings, tmp_path: Path) -> None:
    faster = write_tagger(tmp_path / "faster", sample_rate=22_050)
    runtime = Runtime(settings.model_copy(update={"embeddings": (str(faster),)}))
    with pytest.raises(CheckpointMismatch, match=r"takes 22050 Hz, .* at the codec's 16000 Hz"):
        _ = runtime.embedders
    runtime.close()


def test_a_clip_that_cannot_be_read_costs_its_neighbors_nothing(tagging: Runtime, folder: Path) -> None:
    whole = write_clip(folder / "long.flac", hiss(MAX_HELD_SECONDS + 30, seed=2)).read_bytes()
    (folder / "long.flac").write_bytes(whole[: len(whole) * 9 // 10])
    write_clip(folder / "a.wav", tone(440))
    soundfile.write(folder / "z.wav", tone(660), 16_000)
    counts = tokenize_all(tagging, folder, new_run(tagging.engine))
    assert (counts["tokenized"], counts["quarantined"]) == (2, 1)
    for name in ("a.wav", "z.wav"):
        waveform, _ = read_waveform(folder / name, 16_000)
        (expected,) = tagging.embedders[0].embed([waveform[0, 0].numpy()])
        assert np.array_equal(stored(tagging)[canonical(str(folder / name))], expected.embedding)


def test_doctor_shows_each_model_with_its_license(runtime: Runtime, tagging: Runtime) -> None:
    examination, _ = EXAMINATIONS["embeddings"]
    assert examination(runtime) == "none: WORDWAVE_EMBEDDINGS names no directory"
    fingerprint = tagging.embedders[0].fingerprint
    assert examination(tagging) == (
        f"tiny-tagger, fingerprint {fingerprint[:12]}, license CC0-1.0, 4 numbers, 3 classes"
    )
