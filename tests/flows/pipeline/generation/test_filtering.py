"""A denoiser answers clips at their own rate, and `auto` takes what helps on the library's pairs."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.decoding.audio_stream import Samples
from core.errors import MissingPackage, PromptError
from core.in_context.audio_generator import AudioGenerator
from core.prompts.generation import Example
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation import filtering
from flows.pipeline.generation.denoise import Denoising
from flows.pipeline.generation.job import Generated
from flows.pipeline.generation.measures import denoising
from flows.pipeline.generation.measures.denoising import choose_method
from flows.pipeline.generation.report import json_rows
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.maintenance.verify import verify
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import file_path
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip
from tests.flows.pipeline.generating import denoise, generating, import_voiced, objects, stored
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.spectral_gate import SpectralGate

REQUEST = AudioRequest("street", seconds=0.48)
MEASURED = "SELECT method, count(*), count(stoi) FROM denoising_measures GROUP BY method ORDER BY method"


class Mute(SpectralGate):
    """A denoiser that leaves nothing."""

    def __init__(self) -> None:
        super().__init__(threshold=1e9)


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def filtered(settings: Settings, tmp_path: Path) -> Iterator[Runtime]:
    """A process with the library `street` and a denoiser, without an LLM."""
    with generating(settings, None) as runtime:
        import_voiced(runtime, tmp_path / "library")
        runtime.denoiser = SpectralGate()
        yield runtime


@pytest.fixture
def both(settings: Settings, llm: Path, filtered: Runtime) -> Iterator[Runtime]:
    """Another process, which has an LLM too."""
    with generating(settings, llm) as runtime:
        runtime.denoiser = SpectralGate()
        yield runtime


@pytest.fixture
def clips(folder: Path) -> Path:
    """Two noisy clips, one of them of two channels at a rate over the codec's, and a broken one."""
    write_clip(folder / "a.wav", tone(500, 1.1) + hiss(1.1))
    wide = np.stack([hiss(1.5, seed=1), hiss(1.5, seed=2)], axis=1)
    soundfile.write(folder / "b.wav", wide[:22_051], 44_100, subtype="PCM_16")
    (folder / "c.wav").write_bytes(b"junk")
    return folder


def methods(done: Generated) -> list[str]:
    return [audio.method for _, _, audio in done.record.with_audio]


def page(done: Generated) -> str:
    assert done.run.manifest
    return file_path(done.run.manifest).read_text()


def test_each_clip_is_answered_at_its_own_rate_and_length(filtered: Runtime, clips: Path) -> None:
    done = denoise(filtered, clips, method="deepfilter")
    assert [(Path(one.name).name, one.status, one.reason) for one in done.record.answers] == [
        ("a.wav", "generated", None),
        ("b.wav", "generated", None),
        ("c.wav", "quarantined", "unsupported"),
    ]
    for _, answer, audio in done.record.with_audio:
        asked, said = (soundfile.info(file_path(uri)) for uri in (answer.name, audio.uri))
        assert (said.samplerate, said.frames, said.channels) == (asked.samplerate, asked.frames, 1)
        assert audio.duration == asked.frames / asked.samplerate
        assert audio.metrics["level_db"] < audio.metrics["noisy_level_db"]
    assert methods(done) == ["spectral-gate"] * 2


def test_a_row_names_the_method_and_what_runs_and_no_llm(filtered: Runtime, clips: Path) -> None:
    denoise(filtered, clips, method="deepfilter")
    question = "SELECT DISTINCT method, denoiser_fingerprint, llm, semantic IS NULL FROM analytics.generated"
    assert rows(filtered.engine, question) == [("spectral-gate", SpectralGate().fingerprint, None, True)]


def test_a_second_run_writes_nothing_and_another_denoiser_is_other_work(
    filtered: Runtime, clips: Path, settings: Settings
) -> None:
    first = denoise(filtered, clips, method="deepfilter")
    before, files = stored(filtered.engine), objects(settings)
    second = denoise(filtered, clips, method="deepfilter")
    assert second.run.counts["denoise.generated"] == 0
    assert second.run.manifest == first.run.manifest
    assert (stored(filtered.engine), objects(settings)) == (before, files)
    filtered.denoiser = SpectralGate(threshold=2.0)
    assert denoise(filtered, clips, method="deepfilter").run.counts["denoise.generated"] == 2


def test_auto_needs_no_llm(filtered: Runtime, clips: Path) -> None:
    assert methods(denoise(filtered, clips)) == ["spectral-gate"] * 2
    assert rows(filtered.engine, MEASURED) == [("noisy", 2, 2), ("spectral-gate", 2, 2)]


def test_a_denoiser_that_is_missing_or_switched_off_is_named(filtered: Runtime, clips: Path) -> None:
    filtered.denoiser = None
    with pytest.raises(ValueError, match="WORDWAVE_DENOISER is none"):
        denoise(filtered, clips, method="deepfilter")
    filtered.settings = filtered.settings.model_copy(update={"denoiser": "deepfilter"})
    with pytest.raises(MissingPackage, match=r"install wordwave\[denoise\]"):
        denoise(filtered, clips, method="deepfilter")


def test_what_was_answered_in_context_keeps_its_key_and_stands_beside_the_denoisers(
    both: Runtime, clips: Path
) -> None:
    gate, both.denoiser = both.denoiser, None
    before = denoise(both, clips)  # as it was before there were methods
    both.denoiser = gate
    chosen = denoise(both, clips)
    asked = denoise(both, clips, method="in-context")
    assert methods(chosen) == ["spectral-gate"] * 2
    assert asked.run.counts["denoise.generated"] == 0
    assert asked.record.with_audio == before.record.with_audio
    assert asked.run.manifest == before.run.manifest


def test_auto_measures_each_method_once_on_pairs_that_the_prompt_leaves_out(
    both: Runtime, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    generator_of = Denoising.generator_of

    def recorded(self: Denoising, examples: Sequence[Example]) -> AudioGenerator:
        shown.append(len(examples))
        return generator_of(self, examples)

    monkeypatch.setattr(Denoising, "generator_of", recorded)
    first = denoise(both, clips)
    assert shown == [2, 1, 1]
    assert first.run.counts["measure.measured"] == 6
    assert rows(both.engine, MEASURED) == [("in-context", 2, 2), ("noisy", 2, 2), ("spectral-gate", 2, 2)]
    again = denoise(both, clips)
    assert (again.run.counts["measure.measured"], again.run.manifest) == (0, first.run.manifest)
    assert shown == [2, 1, 1]
    assert again.record.choice == first.record.choice
    assert first.record.choice
    assert first.record.choice.method == "spectral-gate"


def test_measures_of_a_former_denoiser_stay_and_do_not_count(filtered: Runtime, clips: Path) -> None:
    assert methods(denoise(filtered, clips)) == ["spectral-gate"] * 2
    filtered.denoiser = Mute()
    assert choose_method(filtered, REQUEST).method == "unchanged"
    assert methods(denoise(filtered, clips)) == ["unchanged"] * 2
    assert ("spectral-gate", 4, 4) in rows(filtered.engine, MEASURED)


def test_where_nothing_helps_a_clip_is_its_own_answer_and_says_so(filtered: Runtime, clips: Path) -> None:
    filtered.denoiser = Mute()
    done = denoise(filtered, clips)
    [a, b] = [audio for _, _, audio in done.record.with_audio]
    assert (clips / "a.wav").read_bytes() == file_path(a.uri).read_bytes()
    assert soundfile.info(file_path(b.uri)).samplerate == 44_100
    assert "nothing was taken out" in page(done)
    assert "no method is better than the noisy clips" in page(done)
    assert [row["method"] for row in json_rows(done.record, {}) if "method" in row] == ["unchanged"] * 2


def test_a_library_of_one_pair_measures_the_denoiser_alone(
    both: Runtime, clips: Path, tmp_path: Path
) -> None:
    from flows.pipeline.libraries.library import import_manifest

    one = (tmp_path / "library" / "street.jsonl").read_text().splitlines()[0]
    (tmp_path / "library" / "one.jsonl").write_text(one + "\n")
    import_manifest(both, "one", str(tmp_path / "library" / "one.jsonl"), "denoise")
    assert methods(denoise(both, clips, library="one")) == ["spectral-gate"] * 2
    assert rows(both.engine, MEASURED) == [("noisy", 1, 1), ("spectral-gate", 1, 1)]


def test_pairs_that_were_removed_are_not_measured_and_clips_stay_as_they_are(
    filtered: Runtime, clips: Path, tmp_path: Path
) -> None:
    for path in (tmp_path / "library").glob("*.wav"):
        path.unlink()
    done = denoise(filtered, clips)
    assert methods(done) == ["unchanged"] * 2
    assert "2 more pairs are in the library" in page(done)


def test_the_page_plays_the_clip_each_method_and_the_pairs_with_their_measures(
    both: Runtime, clips: Path
) -> None:
    denoise(both, clips, method="in-context")
    html = page(denoise(both, clips))
    for name in ("noisy", "answer, spectral-gate", "in-context", "clean"):
        assert html.count(f"<b>{name}</b>") == 2 + 2 * (name == "noisy")
    for method in ("noisy", "spectral-gate", "in-context"):
        assert html.count(f"STOI, {method}") == html.count(f"SI-SDR dB, {method}") == 2
    assert "The method was chosen: " in html
    assert "license Apache-2.0" in html
    assert "The prompt" not in html
    in_context = page(denoise(both, clips / "a.wav", method="in-context"))
    assert in_context.count("<b>spectral-gate</b>") == 1


def test_lost_objects_are_made_again_and_a_clip_that_is_gone_stays_lost(
    filtered: Runtime, clips: Path, settings: Settings
) -> None:
    first = denoise(filtered, clips, method="deepfilter")
    files = objects(settings)
    for _, _, audio in first.record.with_audio:
        file_path(audio.uri).unlink()
    assert denoise(filtered, clips, method="deepfilter").run.counts["restore.restored"] == 2
    assert objects(settings) == files


def test_a_run_is_verified_by_its_bytes_and_undone(filtered: Runtime, clips: Path) -> None:
    run = denoise(filtered, clips, method="deepfilter").run.id
    checks = {check.name: check for check in verify(filtered, run, sample=10)}
    assert checks["models"].finding.endswith(f"spectral-gate {SpectralGate().fingerprint[:12]}")
    assert checks["audio"].finding == "2 answers have the same bytes as stored"
    filtered.denoiser = SpectralGate(threshold=1.0)
    [models] = [check for check in verify(filtered, run, sample=10) if check.name == "models"]
    assert not models.passed
    assert undo(filtered, run).counts["undo.retracted"] == 2
    assert stored(filtered.engine) == []


def test_a_clip_that_only_the_llm_cannot_answer_is_filtered_all_the_same(both: Runtime, folder: Path) -> None:
    write_clip(folder / "long.wav", tone(500, 12.0))
    first = denoise(both, folder, seconds=0, method="in-context")
    assert first.record.answers[0].reason == "prompt_too_long"
    assert methods(denoise(both, folder, method="deepfilter")) == ["spectral-gate"]


def test_a_clip_that_the_denoiser_fails_on_is_set_aside(filtered: Runtime, clips: Path) -> None:
    class Brittle(SpectralGate):
        def denoise(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
            samples = np.concatenate(list(blocks))
            yield samples * np.float32(np.nan) if len(samples) > 10_000 else samples

    filtered.denoiser = Brittle()
    done = denoise(filtered, clips, method="deepfilter")
    assert [(one.status, one.reason) for one in done.record.answers][:2] == [
        ("quarantined", "failed"),
        ("generated", None),
    ]


def test_an_answer_too_large_for_a_file_is_set_aside(
    filtered: Runtime, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtering, "MAX_FILE_BYTES", 2**10 + 30_000)
    done = denoise(filtered, clips, method="deepfilter")
    assert [one.reason for one in done.record.answers] == ["too_long", "too_long", "unsupported"]


def test_a_long_pair_is_measured_by_its_beginning(
    both: Runtime, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoising, "MAX_SECONDS", 0.5)
    heard: list[int] = []

    def recorded(samples: Samples, rate: int) -> Samples:
        heard.append(len(samples))
        return samples

    monkeypatch.setattr(denoising, "_at_measure_rate", recorded)
    denoise(both, clips)
    assert max(heard) <= 0.72 * 16_000  # codes are cut by blocks of 0.24 s
    assert min(heard) == 8_000


def test_a_library_of_another_task_is_refused_before_anything_is_measured(
    filtered: Runtime, clips: Path, manifest: Path
) -> None:
    from flows.pipeline.libraries.library import import_manifest

    import_manifest(filtered, "sounds", str(manifest), "label")
    with pytest.raises(PromptError, match="library sounds@1 is for label, not for denoise"):
        denoise(filtered, clips, library="sounds")
