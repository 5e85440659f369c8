"""Evaluations: clips of known labels in episodes, the figures kept, and nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from core.errors import PromptError
from core.evaluation.experiment import Experiment, Job
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.evaluation.evaluate import evaluate
from flows.pipeline.labeling.evaluation.request import EvaluationRequest
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import file_path
from tests.flows.pipeline.conftest import RATE, hiss, rows, tone, write_clip
from tests.flows.pipeline.labeling.test_label import write_llama

Row = dict[str, object]


@pytest.fixture
def labeled(folder: Path) -> Path:
    """Six tones and six hisses of three sessions, and what cannot be asked."""
    listed: list[Row] = []
    for number in range(6):
        for label, samples in {
            "tone": tone(400 + 20 * number, 1.5, number),
            "hiss": hiss(1.5, number),
        }.items():
            write_clip(folder / f"{label}-{number}.wav", samples)
            listed.append({"path": f"{label}-{number}.wav", "label": label, "group": number // 2})
    (folder / "broken.wav").write_bytes(b"RIFF....WAVE")
    (folder / "twin.wav").write_bytes((folder / "tone-0.wav").read_bytes())
    listed += [{"path": name, "label": "tone"} for name in ("broken.wav", "twin.wav", "missing.wav")]
    return write_rows(folder, listed)


def write_rows(folder: Path, listed: Sequence[Row]) -> Path:
    path = folder / "labeled.jsonl"
    path.write_text("\n".join(map(json.dumps, listed)) + "\n")
    return path


def figures(runtime: Runtime, manifest: Path, **request: Any) -> dict[str, Any]:
    """What an evaluation keeps."""
    _, run = evaluate(runtime, EvaluationRequest(manifest=str(manifest), episodes=30, **request), with_bar)
    assert run.manifest
    path = file_path(run.manifest)
    assert path.parts[-3:] == ("runs", str(run.id), "evaluation.json")
    kept: dict[str, Any] = json.loads(path.read_text())
    return kept


def test_an_evaluation_keeps_its_figures_and_says_what_was_left_out(runtime: Runtime, labeled: Path) -> None:
    kept = figures(runtime, labeled)
    assert kept["scores"]["nearest tokens"][0]["accuracy"] == 1
    assert kept["scores"]["chance"][0]["accuracy"] == pytest.approx(0.5)
    assert kept["llm"] == {"name": None, "fingerprint": None}
    assert kept["codec"]["fingerprint"] == runtime.codec.fingerprint
    reasons = {row["uri"].rpartition("/")[2]: row["reason"].split(":")[0] for row in kept["left_out"]}
    assert reasons == {"broken.wav": "unreadable", "twin.wav": "same_bytes", "missing.wav": "gone"}
    assert "12 clips of 2 labels" in kept["about"][0]
    assert "12 clips have a group" in kept["about"][0]
    stored = "SELECT kind, status, counts->>'read.read', counts->>'read.left_out' FROM runs"
    assert rows(runtime.engine, stored) == [("evaluate-task", "completed", "13", "2")]
    assert rows(runtime.engine, "SELECT count(*) FROM clips") == [(0,)]


def test_the_same_request_gives_the_same_figures(runtime: Runtime, labeled: Path) -> None:
    first, second = (figures(runtime, labeled, k_shot=2, layout="prompts") for _ in range(2))
    assert first.pop("run") != second.pop("run")
    assert first == second


def test_no_demonstration_is_of_the_querys_group(runtime: Runtime, labeled: Path) -> None:
    evaluation, _ = evaluate(
        runtime, EvaluationRequest(manifest=str(labeled), episodes=50, k_shot=4), with_bar
    )
    clips = evaluation.experiment.clips
    for job, number in (one for part in evaluation.experiment.parts() for one in part):
        episode = evaluation.experiment.episodes(job)[number]
        assert clips.groups[episode.query] not in {clips.groups[shown] for shown in episode.demonstrations}


def test_clips_without_a_group_are_kept_from_themselves_alone(runtime: Runtime, labeled: Path) -> None:
    listed = [json.loads(line) | {"group": None} for line in labeled.read_text().splitlines()]
    kept = figures(runtime, write_rows(labeled.parent, listed), k_shot=5)
    assert kept["scores"]["nearest tokens"][0]["clips"] > 1
    assert "0 clips have a group" in kept["about"][0]


def test_the_papers_protocol_encodes_one_second(runtime: Runtime, labeled: Path) -> None:
    lengths = {}
    for protocol in ("service", "paper"):
        request = EvaluationRequest(manifest=str(labeled), episodes=1, protocol=protocol)
        evaluation, _ = evaluate(runtime, request, with_bar)
        lengths[protocol] = {len(clip.semantic) for clip in evaluation.experiment.clips.codes}
    assert lengths == {"service": {14}, "paper": {10}}


def test_every_layout_has_its_columns_and_the_papers_figures(runtime: Runtime, labeled: Path) -> None:
    kept = figures(runtime, labeled, layout="prompts", paper="sound-events")
    assert [column["repeats"] for column in kept["columns"]] == [0, 0, 0, 2, 3]
    assert kept["paper"]["table"] == "Table 2"
    assert kept["paper"]["rows"]["semantic"] == [48, 60, 57, 57, 73]
    assert all(len(row) == 5 for row in kept["scores"].values())


@pytest.mark.parametrize(("protocol", "context"), [("service", 950), ("paper", 750)])
def test_an_llm_of_the_settings_is_asked_with_both_kinds_of_layers(
    protocol: str, context: int, settings: Settings, tmp_path: Path, labeled: Path
) -> None:
    llm = write_llama(tmp_path / "tiny-llama", context=context)
    runtime = Runtime(settings.model_copy(update={"llm": str(llm)}))
    try:
        kept = figures(runtime, labeled, layout="prompts", protocol=protocol)
    finally:
        runtime.close()
    models = ["tiny-llama, semantic", "tiny-llama, semantic+acoustic"]
    assert list(kept["scores"])[:2] == kept["answering"] == models
    assert [f"{model}, shuffled labels" for model in models] == list(kept["scores"])[-2:]
    assert kept["llm"]["fingerprint"] == (runtime.llm.fingerprint if runtime.llm else None)
    semantic, acoustic = (kept["scores"][model] for model in models)
    assert all(semantic)
    assert [score is None for score in acoustic] == [False, False, False, False, True]
    (too_long,) = (line for line in kept["about"] if "token ids" in line)
    assert too_long.startswith("tiny-llama, semantic+acoustic: the prompt needs")


def test_too_few_clips_are_an_error_that_says_so(runtime: Runtime, labeled: Path) -> None:
    with pytest.raises(ValueError, match="3 labels with 1 clips each"):
        figures(runtime, labeled, n_way=3)
    assert rows(runtime.engine, "SELECT status FROM runs") == [("failed",)]


@pytest.mark.parametrize(
    ("listed", "error", "said"),
    [
        ([{"path": "a.wav"}], ManifestError, "line 1: label"),
        (
            [{"path": "a.wav", "label": "x"}, {"path": "./a.wav", "label": "y"}],
            ManifestError,
            "line 2 names a clip again",
        ),
        ([{"path": "a.wav", "label": "x"}], PromptError, "at least 2 labels"),
    ],
)
def test_a_manifest_that_cannot_be_asked_is_refused(
    runtime: Runtime, folder: Path, listed: list[Row], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        figures(runtime, write_rows(folder, listed))


def test_long_clips_are_left_out_with_the_limit(runtime: Runtime, labeled: Path) -> None:
    soundfile.write(labeled.parent / "long.flac", hiss(60.0).repeat(11), RATE)
    listed = [json.loads(line) for line in labeled.read_text().splitlines()]
    kept = figures(runtime, write_rows(labeled.parent, [*listed, {"path": "long.flac", "label": "hiss"}]))
    assert kept["left_out"][-1]["reason"].startswith("too_long")


def test_episodes_too_many_for_memory_are_asked_in_smaller_parts(
    runtime: Runtime, labeled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Experiment.ask

    def tight(self: Experiment, part: Sequence[tuple[Job, int]]) -> int:
        if len(part) > 8:
            raise MemoryError
        return ask(self, part)

    whole = figures(runtime, labeled)
    monkeypatch.setattr(Experiment, "ask", tight)
    assert figures(runtime, labeled)["scores"] == whole["scores"]
    assert runtime.batch_limits["ask"] <= 8
