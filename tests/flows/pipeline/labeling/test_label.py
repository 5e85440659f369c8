"""Labeling: one answer per content and work key, by nearest neighbor or by a frozen LLM."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import text

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaConfig, LlamaForCausalLM

from core.errors import CheckpointMismatch, PromptError, PromptTooLong
from core.in_context.labelers import Labeler, Prediction
from core.presets import preset_directory
from core.tokens.clip_codes import ClipCodes
from db.engine import make_engine, session_scope
from db.libraries import LibraryNotFound
from db.runs import RunClaim
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.report import json_rows
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.libraries.library import build_library
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.nights.plan import Planner
from flows.pipeline.runs.partition import Partition, partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import canonical
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import forget_latents, hiss, new_run, rows, tone, write_clip


@pytest.fixture
def library(runtime: Runtime, manifest: Path, run_id: RunClaim) -> str:
    return build_library(runtime, "sounds", str(manifest), "label", run_id).name


@pytest.fixture
def clips(folder: Path) -> list[str]:
    for number in range(3):
        write_clip(folder / f"hiss-{number}.wav", hiss(seed=20 + number))
        write_clip(folder / f"tone-{number}.wav", tone(500 + 50 * number, seed=30 + number))
    return sorted(path.name for path in folder.iterdir())


def night(runtime: Runtime, folder: Path, **request: Any) -> Labeling:
    wanted = LabelRequest(**request)
    return run_night(
        runtime, partition_of(str(folder)), wanted, with_bar, kind="label", export=False
    ).labeling


def test_nearest_neighbour_answers_every_clip_and_says_so(
    runtime: Runtime, folder: Path, library: str, clips: list[str]
) -> None:
    labeling = night(runtime, folder, library=library)
    answers = labeling.answers(canonical(str(folder)))
    assert [Path(answer.uri).name for answer in answers] == clips
    assert all(answer.uri.rpartition("/")[2].startswith(answer.label) for answer in answers)
    assert {answer.labeler for answer in answers} == {"nearest-neighbour"}
    for answer in answers:
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.baselines["chance"] == 0.5
        assert answer.baselines["nearest"] == answer.label
        assert answer.baselines["nearest_latent"] == answer.label
        assert 0.5 <= answer.baselines["nearest_latent_probability"] <= 1


def test_equal_work_has_the_key_that_stored_answers_have(runtime: Runtime, library: str) -> None:
    labeling = Labeling(runtime, LabelRequest(library, k_shot=2, min_margin=0.3))
    runtime.__dict__["codec_fingerprint"], labeling.setup.prompt.__dict__["hash"] = "c0dec", "9a5"
    known = "68c538c7b61f5236562bfe334eb8fc06ef75ea11ccbd5fdf25673b3a1211dab2"
    assert labeling.setup.work_key(b"content").hex() == known


def test_what_is_answered_is_not_asked_again_and_what_changed_is(
    runtime: Runtime, folder: Path, library: str, clips: list[str]
) -> None:
    place = canonical(str(folder))
    assert night(runtime, folder, library=library).batches(place) == []
    other = Labeling(runtime, LabelRequest(library, k_shot=1))
    assert sum(map(len, other.batches(place))) == len(clips)
    bound = Labeling(runtime, LabelRequest(library, min_margin=0.9))
    assert bound.batches(place) == []


def test_one_shot_of_each_label_is_the_first_in_the_library(
    runtime: Runtime, folder: Path, library: str, run_id: RunClaim
) -> None:
    labeling = Labeling(runtime, LabelRequest(library, k_shot=1))
    labeling.setup.prepare(run_id)
    assert [clip.label for clip in labeling.setup.prompt.demonstrations] == ["tone", "hiss"]


def test_a_demonstration_among_the_clips_is_answered_and_flagged(
    runtime: Runtime, folder: Path, manifest: Path, library: str
) -> None:
    shutil.copy(manifest.parent / "tone-0.wav", folder / "again.wav")
    write_clip(folder / "new.wav", tone(450, seed=99))
    night(runtime, folder, library=library)
    flagged = rows(
        runtime.engine,
        "SELECT c.uri LIKE '%again.wav', p.is_demonstration FROM predictions p "
        "JOIN clips c USING (content_sha256) WHERE c.uri LIKE :folder",
        folder=f"{canonical(str(folder))}%",
    )
    assert sorted(flagged) == [(False, False), (True, True)]


def test_an_unknown_library_fails_first_thing_and_names_the_nearest(
    runtime: Runtime, folder: Path, library: str
) -> None:
    with pytest.raises(LibraryNotFound, match="did you mean sounds"):
        night(runtime, folder, library="sound")
    with pytest.raises(LibraryNotFound, match="no version 7"):
        night(runtime, folder, library="sounds@7")


def write_llama(directory: Path, context: int = 1024) -> Path:
    """A tiny LLaMA of random weights beside the mini vocabulary: it reads prompts, it knows nothing."""
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=3072,
        max_position_embeddings=context,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    shutil.copy(preset_directory("mini-codec") / "tokenizer.model", directory)
    return directory


@pytest.fixture
def llama_runtime(settings: Settings, tmp_path: Path) -> Iterator[Runtime]:
    llm = write_llama(tmp_path / "tiny-llama")
    runtime = Runtime(settings.model_copy(update={"llm": str(llm)}))
    yield runtime
    runtime.close()


def test_a_frozen_llama_answers_with_the_labels_of_the_library(
    llama_runtime: Runtime, folder: Path, library: str, clips: list[str]
) -> None:
    labeling = night(llama_runtime, folder, library=library, layers="semantic+acoustic", repeats=1)
    answers = labeling.answers(canonical(str(folder)))
    assert len(answers) == len(clips)
    assert {answer.labeler for answer in answers} == {"few-shot"}
    for answer in answers:
        assert set(answer.probabilities) == {"hiss", "tone"}
        assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert rows(llama_runtime.engine, "SELECT DISTINCT name FROM llms") == [(labeling.runtime.settings.llm,)]


def test_answers_of_the_llm_stand_beside_those_of_the_neighbour(
    runtime: Runtime, llama_runtime: Runtime, folder: Path, library: str, clips: list[str]
) -> None:
    night(runtime, folder, library=library)
    night(llama_runtime, folder, library=library)
    counted = rows(
        runtime.engine, "SELECT labeler, count(*)::int FROM predictions GROUP BY labeler ORDER BY 1"
    )
    assert counted == [("few-shot", len(clips)), ("nearest-neighbour", len(clips))]


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    settings: Settings, folder: Path, library: str, tmp_path: Path, clips: list[str]
) -> None:
    llm = write_llama(tmp_path / "short", context=64)
    short = Runtime(settings.model_copy(update={"llm": str(llm)}))
    try:
        with pytest.raises(PromptTooLong, match="context holds 64"):
            night(short, folder, library=library)
    finally:
        short.close()
    assert rows(short.engine, "SELECT status FROM runs WHERE kind = 'label'") == [("failed",)]


def test_a_codec_and_an_llm_of_different_tokenizers_are_refused(
    settings: Settings, tmp_path: Path, folder: Path, library: str, clips: list[str]
) -> None:
    llm = write_llama(tmp_path / "other")
    (llm / "tokenizer.model").write_bytes((llm / "tokenizer.model").read_bytes() + b"\x1a\x00")
    other = Runtime(settings.model_copy(update={"llm": str(llm)}))
    try:
        with pytest.raises(CheckpointMismatch, match="tokenizer"):
            night(other, folder, library=library)
    finally:
        other.close()


def test_demonstrations_unknown_to_a_codec_are_tokenized_before_they_are_shown(
    settings: Settings, runtime: Runtime, folder: Path, library: str, clips: list[str], tmp_path: Path
) -> None:
    codec = shutil.copytree(preset_directory("mini-codec"), tmp_path / "codec")
    words = (codec / "words.txt").read_text().splitlines()
    (codec / "words.txt").write_text("".join(f"{word}\n" for word in reversed(words)))
    upgraded = Runtime(settings.model_copy(update={"codec": str(codec)}))
    try:
        labeling = night(upgraded, folder, library=library)
        assert len(labeling.answers(canonical(str(folder)))) == len(clips)
    finally:
        upgraded.close()
    assert new_run(runtime.engine)


def test_a_day_means_the_clips_last_modified_in_it(runtime: Runtime, folder: Path, library: str) -> None:
    for name, when in [("before.wav", 99), ("first.wav", 100), ("last.wav", 199), ("after.wav", 200)]:
        os.utime(write_clip(folder / name, tone(440, seed=when)), (when, when))
    span = (datetime.fromtimestamp(100, UTC), datetime.fromtimestamp(200, UTC))
    request = LabelRequest(library)
    partition = Partition(str(folder), canonical(str(folder)), span)
    done = run_night(runtime, partition, request, with_bar, kind="label", export=False)
    assert [Path(a.uri).name for a in done.labeling.answers(done.selection)] == ["first.wav", "last.wav"]
    assert done.run.counts["tokenize.tokenized"] == 2


def test_each_clip_is_shown_its_nearest_demonstrations(
    llama_runtime: Runtime, folder: Path, library: str, clips: list[str]
) -> None:
    place = canonical(str(folder))
    plain = night(llama_runtime, folder, library=library)
    near = night(llama_runtime, folder, library=library, nearest_shots=1)
    assert len(near.answers(place)) == len(clips)
    assert near.setup.labeler.prompt_hash != plain.setup.labeler.prompt_hash
    assert Labeling(llama_runtime, LabelRequest(library, nearest_shots=1)).batches(place) == []
    by_uri = {answer.uri: answer.probabilities for answer in plain.answers(place)}
    assert any(answer.probabilities != by_uri[answer.uri] for answer in near.answers(place))
    with pytest.raises(PromptError, match="3 are needed"):
        night(llama_runtime, folder, library=library, nearest_shots=3)


def test_a_neighbour_compares_all_demonstrations_whatever_an_llm_would_be_shown(
    runtime: Runtime, folder: Path, library: str, clips: list[str]
) -> None:
    night(runtime, folder, library=library)
    near = Labeling(runtime, LabelRequest(library, nearest_shots=1))
    assert near.batches(canonical(str(folder))) == []


def test_clips_from_before_there_were_latents_are_answered_and_wait_where_they_are_chosen_by(
    runtime: Runtime, llama_runtime: Runtime, folder: Path, library: str, clips: list[str], database: Database
) -> None:
    place = canonical(str(folder))
    night(runtime, folder, library=library)
    forget_latents(database)
    old = Labeling(llama_runtime, LabelRequest(library))
    for batch in old.batches(place):
        old.label_batch(batch, new_run(runtime.engine))
    assert len(old.answers(place)) == len(clips)
    assert all("nearest_latent" not in answer.baselines for answer in old.answers(place))
    chosen = Labeling(llama_runtime, LabelRequest(library, nearest_shots=1))
    chosen.setup.prepare(new_run(runtime.engine))
    assert chosen.batches(place) == []
    filled = night(llama_runtime, folder, library=library, nearest_shots=1)
    assert len(filled.answers(place)) == len(clips)
    assert all("nearest_latent" in answer.baselines for answer in filled.answers(place))


class Stumbling:
    """A labeler that fails on the clips of some contents, and asks another one for the rest."""

    def __init__(self, labeler: Labeler, bad: Callable[[ClipCodes], bool], error: Exception) -> None:
        self._labeler, self._bad, self._error = labeler, bad, error
        self.prompt_hash = labeler.prompt_hash

    def label(self, queries: Sequence[ClipCodes]) -> list[Prediction]:
        if any(map(self._bad, queries)):
            raise self._error
        return self._labeler.label(queries)


def stumble(
    monkeypatch: pytest.MonkeyPatch,
    bad: Callable[[ClipCodes], bool],
    error: Exception = RuntimeError("boom"),  # noqa: B008
) -> None:
    """Let every labeler that is made from now on stumble."""
    labeler = LabelingSetup.__dict__["labeler"].func
    stumbling = cached_property(lambda setup: Stumbling(labeler(setup), bad, error))
    stumbling.__set_name__(LabelingSetup, "labeler")
    monkeypatch.setattr(LabelingSetup, "labeler", stumbling)


def is_long(codes: ClipCodes) -> bool:
    return codes.num_blocks > 4


def statuses(done: Night) -> dict[str, tuple[str, str | None]]:
    found: Iterable[Mapping[str, Any]] = json_rows(done.answers)
    return {Path(row["uri"]).name: (row["status"], row.get("reason")) for row in found}


def run(runtime: Runtime, folder: Path, library: str) -> Night:
    partition, request = partition_of(str(folder)), LabelRequest(library)
    return run_night(runtime, partition, request, with_bar, kind="label", export=True)


def test_a_clip_that_the_labeler_fails_on_is_set_aside_until_replay(
    runtime: Runtime, folder: Path, library: str, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(folder / "long.wav", tone(440, seconds=1.5))
    with monkeypatch.context() as patch:
        stumble(patch, is_long)
        done = run(runtime, folder, library)
        expected = dict.fromkeys(clips, ("labeled", None)) | {"long.wav": ("quarantined", "failed")}
        assert statuses(done) == expected
        counts = done.run.counts
        assert (counts["label.labeled"], counts["label.quarantined:failed"]) == (len(clips), 1)
        assert counts["export.rows"] == len(clips)
        assert rows(runtime.engine, "SELECT stage, reason, message, attempts FROM quarantine") == [
            ("label", "failed", "label: RuntimeError: boom", 1)
        ]
        plan = Planner(Labelings(runtime, LabelRequest(library))).plan(partition_of(str(folder)))
        assert plan.counts == {"done": len(clips), "quarantined": 1}
        again = run(runtime, folder, library)
        assert again.run.counts["label.quarantined"] == 0
        assert statuses(again) == expected
    replay = replay_place(runtime, str(folder), ["failed"], with_bar)
    assert {Path(uri).name for uri in replay.uris} == {"long.wav"}
    mended = run(runtime, folder, library)
    assert statuses(mended) == dict.fromkeys([*clips, "long.wav"], ("labeled", None))
    assert mended.run.counts["label.labeled"] == 1


def test_a_labeler_that_fails_on_everything_fails_the_run_and_sets_nothing_aside(
    runtime: Runtime, folder: Path, library: str, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stumble(monkeypatch, lambda codes: True, KeyError("weights"))
    with pytest.raises(KeyError, match="weights"):
        run(runtime, folder, library)
    assert rows(runtime.engine, "SELECT count(*)::int FROM quarantine") == [(0,)]


def test_a_latent_that_was_stored_although_it_is_not_finite_costs_one_row(
    runtime: Runtime, folder: Path, library: str, clips: list[str], database: Database
) -> None:
    run(runtime, folder, library)
    owner = make_engine(database.url("owner"))
    with session_scope(owner) as session:
        session.execute(text("DELETE FROM predictions"))
        session.execute(text("DELETE FROM exports"))
        session.execute(text("ALTER TABLE pooled_latents DROP CONSTRAINT IF EXISTS ck_pooled_latents_finite"))
        session.execute(
            text(
                "UPDATE pooled_latents SET mean = set_byte(mean, 1, 124) WHERE content_sha256 = "
                "(SELECT content_sha256 FROM clips WHERE uri LIKE '%/clips/hiss-2.wav')"
            )
        )
    owner.dispose()
    done = run(runtime, folder, library)
    assert statuses(done) == dict.fromkeys(clips, ("labeled", None)) | {
        "hiss-2.wav": ("quarantined", "not_finite")
    }
    assert run(runtime, folder, library).run.counts["label.quarantined"] == 0


def test_an_answer_stands_where_another_library_cannot_ask_the_clip(
    runtime: Runtime, folder: Path, library: str, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(folder / "long.wav", tone(440, seconds=1.5))
    run(runtime, folder, library)
    stumble(monkeypatch, is_long)
    other = LabelRequest(library, k_shot=1)
    done = run_night(runtime, partition_of(str(folder)), other, with_bar, kind="label", export=False)
    assert statuses(done)["long.wav"] == ("quarantined", "failed")
    assert statuses(run(runtime, folder, library))["long.wav"] == ("labeled", None)
