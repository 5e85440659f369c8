"""Tokenizing batches: nothing twice, nothing lost, one bad clip is one row."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sqlalchemy import text

from core.audio.resampling import read_waveform
from core.codec import EncodedClip
from core.decoding.audio_stream import Samples
from db.engine import session_scope
from db.quarantine import open_quarantine, quarantine_contents
from db.runs import RunClaim
from flows.pipeline.clips.ingest import ingest
from flows.pipeline.clips.tokenize_clips import (
    MAX_BATCH_BYTES,
    MAX_HELD_SECONDS,
    batches_to_tokenize,
    tokenize_batch,
)
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.halving import DeviceFailed
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import canonical
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import forget_latents, hiss, new_run, rows, tone, write_clip


def tokenize_all(runtime: Runtime, folder: Path, run_id: RunClaim) -> Counts:
    place, counts = canonical(str(folder)), Counts()
    ingest(runtime, place)
    for batch in batches_to_tokenize(runtime, place, runtime.settings.batch_size):
        counts += tokenize_batch(runtime, runtime.readable(place), batch, run_id)
    return counts


def test_a_bad_clip_costs_one_row_and_the_rest_goes_on(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "a.wav", tone(440))
    (folder / "b.wav").write_bytes(b"<html>not found</html>")
    write_clip(folder / "c.wav", np.zeros(8000, np.float32))
    write_clip(folder / "d.wav", hiss())
    counts = tokenize_all(runtime, folder, run_id)
    assert counts == {
        "tokenized": 2,
        "quarantined": 2,
        "quarantined:unsupported": 1,
        "quarantined:silent": 1,
    }
    assert rows(runtime.engine, "SELECT reason, attempts FROM quarantine ORDER BY reason") == [
        ("silent", 1),
        ("unsupported", 1),
    ]


def test_equal_bytes_are_tokenized_once_and_share_their_fate(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "a.wav", tone(440))
    write_clip(folder / "b.wav", tone(440))
    (folder / "x.wav").write_bytes(b"junk")
    (folder / "y.wav").write_bytes(b"junk")
    counts = tokenize_all(runtime, folder, run_id)
    assert (counts["tokenized"], counts["same_bytes"], counts["quarantined"]) == (1, 1, 2)
    assert rows(
        runtime.engine, "SELECT count(DISTINCT content_sha256), count(content_sha256) FROM clips"
    ) == [(1, 2)]


def test_bytes_known_from_an_earlier_run_are_only_linked(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "a.wav", tone(440))
    tokenize_all(runtime, folder, run_id)
    write_clip(folder / "later.wav", tone(440))
    assert tokenize_all(runtime, folder, run_id) == {"same_bytes": 1}


def test_a_second_time_there_is_nothing_to_do(runtime: Runtime, folder: Path, run_id: RunClaim) -> None:
    write_clip(folder / "a.wav", tone(440))
    (folder / "b.wav").write_bytes(b"junk")
    tokenize_all(runtime, folder, run_id)
    assert batches_to_tokenize(runtime, canonical(str(folder)), 100) == []


def test_stored_codes_are_those_of_the_codec_for_clips_held_and_clips_streamed(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    short = write_clip(folder / "short.wav", hiss(1.3, seed=1))
    long = write_clip(folder / "long.wav", hiss(MAX_HELD_SECONDS + 2.1, seed=2))
    tokenize_all(runtime, folder, run_id)
    stored: dict[str, Any] = dict(
        rows(
            runtime.engine,
            "SELECT c.uri, ARRAY[to_json(s.semantic), to_json(s.acoustic1), to_json(s.acoustic2)] "
            "FROM clips c JOIN token_sequences s USING (content_sha256)",
        )
    )
    for path in (short, long):
        waveform, _ = read_waveform(path, 16_000)
        expected = [layer[0].tolist() for layer in runtime.codec.encode(waveform)]
        assert stored[canonical(str(path))] == expected


def test_a_clip_has_one_latent_however_it_is_read(runtime: Runtime, folder: Path, run_id: RunClaim) -> None:
    short = write_clip(folder / "short.wav", hiss(1.3, seed=1))
    long = write_clip(folder / "long.wav", hiss(MAX_HELD_SECONDS + 2.1, seed=2))
    tokenize_all(runtime, folder, run_id)
    stored: dict[str, Any] = dict(
        rows(
            runtime.engine,
            "SELECT c.uri, l.mean || l.deviation FROM clips c JOIN pooled_latents l USING (content_sha256)",
        )
    )
    for path in (short, long):
        waveform, _ = read_waveform(path, 16_000)
        (clip,) = runtime.codec.encode_with_latents([waveform[0]])
        halves = np.frombuffer(bytes(stored[canonical(str(path))]), "<f2")
        assert np.array_equal(halves, clip.latent.ravel())


def test_tokens_without_a_latent_are_filled_in_and_stay_as_they_are(
    runtime: Runtime, folder: Path, run_id: RunClaim, database: Database
) -> None:
    write_clip(folder / "a.wav", tone(440))
    tokenize_all(runtime, folder, run_id)
    kept = rows(runtime.engine, "SELECT * FROM token_sequences")
    latents = rows(runtime.engine, "SELECT mean, deviation FROM pooled_latents")
    forget_latents(database)
    assert tokenize_all(runtime, folder, new_run(runtime.engine)) == {"tokenized": 1}
    assert rows(runtime.engine, "SELECT * FROM token_sequences") == kept
    assert rows(runtime.engine, "SELECT mean, deviation FROM pooled_latents") == latents
    assert batches_to_tokenize(runtime, canonical(str(folder)), 100) == []


def test_a_long_clip_that_breaks_off_is_quarantined_and_its_batch_goes_on(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    whole = write_clip(folder / "long.flac", hiss(MAX_HELD_SECONDS + 30, seed=2)).read_bytes()
    (folder / "long.flac").write_bytes(whole[: int(len(whole) * 0.9)])
    write_clip(folder / "short.wav", tone(440))
    counts = tokenize_all(runtime, folder, run_id)
    assert counts["tokenized"] == 1
    assert counts["quarantined:truncated"] == 1


def test_a_clip_that_changed_after_the_listing_is_gone(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    path = write_clip(folder / "a.wav", tone(440))
    place = canonical(str(folder))
    ingest(runtime, place)
    (batch,) = batches_to_tokenize(runtime, place, 100)
    write_clip(path, tone(880, seconds=0.7))
    assert tokenize_batch(runtime, runtime.readable(place), batch, run_id)["quarantined:gone"] == 1
    assert tokenize_all(runtime, folder, run_id) == {"tokenized": 1}


def test_a_batch_is_bounded_in_clips_and_bytes(runtime: Runtime, folder: Path) -> None:
    for number in range(9):
        write_clip(folder / f"{number}.wav", tone(440, seconds=0.1, seed=number))
    for number in (3, 4):
        with (folder / f"{number}.wav").open("r+b") as file:
            file.truncate(MAX_BATCH_BYTES - 100)  # sparse: takes no room on disk
    ingest(runtime, canonical(str(folder)))
    batches = batches_to_tokenize(runtime, canonical(str(folder)), 4)
    assert [[Path(clip.uri).stem for clip in batch] for batch in batches] == [
        ["0", "1", "2"],
        ["3"],
        ["4"],
        ["5", "6", "7", "8"],
    ]


def shouting(seconds: float, loudness: float, seed: int = 0) -> Samples:
    """Finite samples, as a file read in the wrong byte order has them."""
    return (tone(440, seconds, seed) * loudness).astype(np.float32)


@pytest.mark.parametrize("loudness", [1e18, 1e25, 1e30, 3e38])
def test_finite_samples_without_finite_latents_are_set_aside_and_never_stored(
    runtime: Runtime, folder: Path, run_id: RunClaim, loudness: float
) -> None:
    write_clip(folder / "good.wav", tone(440))
    soundfile.write(folder / "huge.wav", shouting(0.6, loudness), 16_000, subtype="FLOAT")
    soundfile.write(folder / "huge_8k.wav", shouting(0.6, loudness, 1), 8_000, subtype="FLOAT")
    counts = tokenize_all(runtime, folder, run_id)
    assert (counts["tokenized"], counts["quarantined"]) == (1, 2)
    latents = rows(runtime.engine, "SELECT mean || deviation FROM pooled_latents")
    halves = [np.frombuffer(bytes(latent), "<f2") for (latent,) in latents]
    assert len(halves) == 1
    assert np.isfinite(halves[0]).all()


@dataclass
class Stumbling:
    """The codec's own encoding, which fails for clips of some lengths and for batches over a size."""

    encode: Callable[..., list[EncodedClip]]
    bad: Callable[[int], bool] = lambda samples: False
    error: Exception = field(default_factory=lambda: RuntimeError("boom"))
    largest: int = 1000
    sizes: list[int] = field(default_factory=list)

    def __call__(self, clips: Iterable[Iterable[torch.Tensor]]) -> list[EncodedClip]:
        batch = [list(clip) for clip in clips]
        self.sizes.append(len(batch))
        if len(batch) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if any(self.bad(sum(map(len, clip))) for clip in batch):
            raise self.error
        return self.encode(batch)


def stumbling(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Stumbling:
    codec = runtime.codec
    stumbling = Stumbling(codec.encode_with_latents, **how)
    monkeypatch.setattr(codec, "encode_with_latents", stumbling)
    return stumbling


def write_tones(folder: Path, count: int) -> None:
    """Clips of different lengths, so that each can be told."""
    for number in range(count):
        write_clip(folder / f"{number:02}.wav", tone(300 + 20 * number, (30 + number) / 100, number))


def test_a_clip_that_the_codec_fails_on_costs_one_row_and_waits_for_replay(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(folder, 8)
    failing = stumbling(runtime, monkeypatch, bad=lambda samples: samples in (4800, 5280))
    assert tokenize_all(runtime, folder, run_id) == {
        "tokenized": 6,
        "quarantined": 2,
        "quarantined:failed": 2,
    }
    assert (
        rows(runtime.engine, "SELECT stage, reason, message FROM quarantine")
        == [("tokenize", "failed", "encode: RuntimeError: boom")] * 2
    )
    failing.sizes.clear()
    assert tokenize_all(runtime, folder, new_run(runtime.engine)) == {}
    assert failing.sizes == []


def test_a_night_of_one_clip_that_the_codec_fails_on_costs_one_row(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(folder, 1)
    stumbling(runtime, monkeypatch, bad=lambda samples: samples == 4800)
    assert tokenize_all(runtime, folder, run_id)["quarantined:failed"] == 1


def test_a_codec_that_fails_on_everything_is_no_fault_of_the_clips(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(folder, 4)
    stumbling(runtime, monkeypatch, bad=lambda samples: True)
    with pytest.raises(RuntimeError, match="boom"):
        tokenize_all(runtime, folder, run_id)
    assert rows(runtime.engine, "SELECT count(*)::int FROM quarantine") == [(0,)]


def test_a_batch_too_large_for_memory_is_halved_and_the_size_kept(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(folder, 8)
    tight = stumbling(runtime, monkeypatch, largest=2)
    assert tokenize_all(runtime, folder, run_id) == {"tokenized": 8}
    assert tight.sizes == [4, 2, 2, 2, 2]


def test_a_lost_device_ends_the_run_and_no_clip_is_blamed(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(folder, 4)
    lost = RuntimeError("CUDA error: device-side assert triggered")
    stumbling(runtime, monkeypatch, bad=lambda samples: samples == 4800, error=lost)
    with pytest.raises(DeviceFailed):
        tokenize_all(runtime, folder, run_id)
    assert rows(runtime.engine, "SELECT count(*)::int FROM quarantine") == [(0,)]


def test_new_tokens_end_the_quarantine_of_a_clip_whose_old_ones_could_not_be_labeled(
    runtime: Runtime, folder: Path, run_id: RunClaim, database: Database
) -> None:
    write_clip(folder / "a.wav", tone(440))
    tokenize_all(runtime, folder, run_id)
    forget_latents(database)
    with session_scope(runtime.engine) as session:
        [content] = session.scalars(text("SELECT sha256 FROM contents"))
        quarantine_contents(session, "label", run_id.id, {bytes(content): ("not_finite", "why")})
        assert [row.stage for row in open_quarantine(session, canonical(str(folder)))] == ["label"]
    tokenize_all(runtime, folder, new_run(runtime.engine))
    with session_scope(runtime.engine) as session:
        assert open_quarantine(session, canonical(str(folder))) == []
