"""Noisy clips to clean ones: the clip's own codes are asked, and a clip too long for that waits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import PromptTooLong
from db.engine import session_scope
from db.quarantine import open_quarantine
from db.tokens import TokensOfContent
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation import denoise as stage
from flows.pipeline.generation.denoise import Denoising
from flows.pipeline.generation.generate import Answered, ClipQuestion
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical, file_path
from tests.flows.pipeline.conftest import hiss, new_run, rows, tone, write_clip
from tests.flows.pipeline.generating import denoise, generating, import_pairs, objects, stored
from tests.flows.pipeline.labeling.test_label import write_llama


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def denoiser(settings: Settings, llm: Path, tmp_path: Path) -> Iterator[Runtime]:
    """A process with the library `street`."""
    with generating(settings, llm) as runtime:
        import_pairs(runtime, tmp_path / "library")
        yield runtime


@pytest.fixture
def clips(folder: Path) -> Path:
    """Two noisy clips, one of them at another rate, and a broken one."""
    write_clip(folder / "a.wav", tone(500, 1.1) + hiss(1.1))
    soundfile.write(folder / "b.wav", np.tile(hiss(0.5), 2)[:7000], 8_000, subtype="PCM_16")
    (folder / "c.wav").write_bytes(b"junk")
    return folder


def test_each_clip_is_answered_as_long_as_it_is(denoiser: Runtime, clips: Path) -> None:
    done = denoise(denoiser, clips)
    assert [(Path(one.name).name, one.status, one.reason) for one in done.record.answers] == [
        ("a.wav", "generated", None),
        ("b.wav", "generated", None),
        ("c.wav", "quarantined", "unsupported"),
    ]
    assert done.run.counts["denoise.generated"] == 2
    for _, answer, audio in done.record.with_audio:
        asked, said = (soundfile.info(file_path(uri)) for uri in (answer.name, audio.uri))
        assert said.samplerate == 16_000
        assert said.duration == pytest.approx(asked.duration, abs=1e-4)
        assert audio.duration == pytest.approx(asked.duration, abs=1e-4)
        assert audio.metrics["mel_distance_db"] > 0


@pytest.mark.parametrize("length", [2007, 8028])
def test_an_answer_has_as_many_samples_as_its_clip(denoiser: Runtime, folder: Path, length: int) -> None:
    assert length / 16_000 * 16_000 > length  # a duration in seconds is not always exact
    write_clip(folder / "a.wav", hiss(1.0)[:length])
    [(_, _, audio)] = denoise(denoiser, folder).record.with_audio
    assert soundfile.info(file_path(audio.uri)).frames == length


def test_a_second_run_asks_no_model_and_writes_nothing(
    denoiser: Runtime, clips: Path, settings: Settings, llm: Path
) -> None:
    first = denoise(denoiser, clips)
    before, files = stored(denoiser.engine), objects(settings)
    with generating(settings, llm) as another:
        second = denoise(another, clips)
        assert isinstance(generation := second.record.generation, Denoising)
        assert "_prefix" not in vars(generation.generator)
        assert "denoise.generated" not in second.run.counts
        assert second.run.manifest == first.run.manifest
    assert (stored(denoiser.engine), objects(settings)) == (before, files)


def test_slices_and_the_whole_are_other_work(denoiser: Runtime, clips: Path) -> None:
    sliced, whole = (denoise(denoiser, clips, seconds=seconds) for seconds in (0.48, 0))
    assert whole.run.counts["denoise.generated"] == 2
    assert {audio.work_key for _, _, audio in sliced.record.with_audio}.isdisjoint(
        {audio.work_key for _, _, audio in whole.record.with_audio}
    )


def test_a_demonstration_among_the_clips_is_answered_and_flagged(
    denoiser: Runtime, folder: Path, tmp_path: Path
) -> None:
    (folder / "again.wav").write_bytes((tmp_path / "library/noisy-0.wav").read_bytes())
    write_clip(folder / "new.wav", hiss(0.5, seed=9))
    flags = {
        Path(a.name).name: audio.is_demonstration
        for _, a, audio in denoise(denoiser, folder).record.with_audio
    }
    assert flags == {"again.wav": True, "new.wav": False}


def test_a_clip_longer_than_the_context_waits_and_its_slices_are_answered_after_a_replay(
    denoiser: Runtime, folder: Path
) -> None:
    write_clip(folder / "long.wav", tone(500, 12.0))
    write_clip(folder / "short.wav", tone(500, 0.5))
    place = canonical(str(folder))
    done = denoise(denoiser, folder, seconds=0)
    assert done.run.counts["denoise.quarantined:prompt_too_long"] == 1
    [long, short] = done.record.answers
    assert (long.status, long.reason, short.status) == ("quarantined", "prompt_too_long", "generated")
    for _ in range(2):
        assert denoise(denoiser, folder, seconds=0.48).record.answers[0].status == "quarantined"
    with session_scope(denoiser.engine) as session:
        [row] = open_quarantine(session, place)
    assert (row.stage, row.attempts) == ("denoise", 1)
    assert "denoise in (shorter) slices" in row.message
    replay_place(denoiser, str(folder), [], with_bar)
    assert denoise(denoiser, folder, seconds=0.48).record.answers[0].status == "generated"


def test_a_clip_that_waits_keeps_the_answers_that_it_has(denoiser: Runtime, folder: Path) -> None:
    write_clip(folder / "long.wav", tone(500, 12.0))
    first = denoise(denoiser, folder, seconds=0.48)
    assert denoise(denoiser, folder, seconds=0).record.answers[0].status == "quarantined"
    again = denoise(denoiser, folder, seconds=0.48)
    assert again.record.answers == first.record.answers
    assert again.run.manifest == first.run.manifest


def test_a_clip_that_cannot_be_denoised_is_labelled_all_the_same(
    denoiser: Runtime, folder: Path, manifest: Path
) -> None:
    write_clip(folder / "long.wav", tone(500, 12.0))
    denoise(denoiser, folder, seconds=0)
    build_library(denoiser, "sounds", str(manifest), "label", new_run(denoiser.engine))
    request = LabelRequest("sounds")
    night = run_night(denoiser, partition_of(str(folder)), request, with_bar, kind="label", export=False)
    assert [clip.status for clip in night.answers] == ["labeled"]


def test_audio_too_long_to_lie_in_memory_waits(
    denoiser: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MAX_SECONDS", 1.0)
    write_clip(folder / "long.wav", tone(500, 1.2))
    assert denoise(denoiser, folder).record.answers[0].reason == "too_long"
    assert rows(denoiser.engine, "SELECT count(*) FROM generated_audio") == [(0,)]


def test_slices_that_do_not_fit_fail_before_any_clip_is_asked(
    settings: Settings, denoiser: Runtime, clips: Path, tmp_path: Path
) -> None:
    denoising = Denoising(denoiser, AudioRequest("street", seconds=0.48))
    denoising.prepare(new_run(denoiser.engine))
    context = len(denoising.generator.prefix_ids) + 60
    with (
        generating(settings, write_llama(tmp_path / "short", context)) as short,
        pytest.raises(PromptTooLong, match=f"the context holds {context}: denoise in"),
    ):
        denoise(short, clips)
    assert rows(denoiser.engine, "SELECT count(*) FROM quarantine WHERE stage = 'denoise'") == [(0,)]


def test_pairs_show_the_same_window_of_both_clips(denoiser: Runtime, clips: Path) -> None:
    generation = denoise(denoiser, clips).record.generation
    assert isinstance(generation, Denoising)
    library = generation.library.demonstrations
    for row, example in zip(library, generation.examples, strict=True):
        assert not isinstance(example.request, str)
        assert len(example.request.semantic) == len(example.answer.semantic) == 4
        assert generation.query(ClipQuestion(row.content_sha256)).semantic.shape == (4,)


def test_a_clip_that_the_models_fail_on_is_set_aside_until_replay(
    denoiser: Runtime, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Denoising._answered

    def stumbling(self: Denoising, asked: ClipQuestion, tokens: TokensOfContent) -> Answered:
        if tokens.duration < 0.9:
            raise RuntimeError("boom")
        return answered(self, asked, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(Denoising, "_answered", stumbling)
        done = denoise(denoiser, clips)
        assert [(one.status, one.reason) for one in done.record.answers] == [
            ("generated", None),
            ("quarantined", "failed"),
            ("quarantined", "unsupported"),
        ]
        assert done.run.counts["denoise.quarantined:failed"] == 1
        assert denoise(denoiser, clips).run.counts["denoise.quarantined"] == 0
    replay_place(denoiser, str(clips), ["failed"], with_bar)
    assert denoise(denoiser, clips).record.answers[1].status == "generated"
