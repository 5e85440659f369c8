"""The queue of a night: as many as asked for, with reasons, and stable."""

from pathlib import Path

import pytest

from db.reviews.queue import NewReview, ReviewCandidate
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import Night
from flows.pipeline.reviews.choosing import doubt_of, interleaved, queue_library
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows
from tests.flows.pipeline.reviews.conftest import decide, run, waiting


def candidate(**changes: object) -> ReviewCandidate:
    values = {"content_sha256": b"c", "prediction_id": 1, "uri": "file:///c.wav", "label": "dog"}
    return ReviewCandidate(**values | {"margin": 0.4, "status": "labeled", "by_labeler": {}} | changes)  # type: ignore[arg-type]


def test_a_night_queues_clips_with_the_reason_for_each(runtime: Runtime, night: Night) -> None:
    queue = waiting(runtime)
    assert [clip.position for clip in queue] == [1, 2, 3, 4, 5]
    assert [clip.drawn for clip in queue].count("random") == 1
    assert len({clip.uri for clip in queue}) == 5
    for clip in queue:
        assert "drawn at random" in clip.reason if clip.drawn == "random" else "leads the next" in clip.reason
    assert rows(runtime.engine, "SELECT DISTINCT run FROM analytics.reviews") == [(night.run.id,)]


def test_a_night_again_keeps_the_queue_and_a_decision_changes_it(
    runtime: Runtime, night: Night, clips: Path
) -> None:
    queue = waiting(runtime)
    run(runtime, clips)
    assert waiting(runtime) == queue
    decide(runtime, queue[0], "tone")
    run(runtime, clips)
    after = waiting(runtime)
    assert len(after) == 5
    assert queue[0].content_sha256 not in {clip.content_sha256 for clip in after}


def test_a_queue_by_command_is_that_of_the_night(runtime: Runtime, night: Night) -> None:
    assert queue_library(runtime, "sounds", 5) == waiting(runtime)
    assert len(queue_library(runtime, "sounds", 8)) == 8
    assert len(queue_library(runtime, "sounds", 500)) == 12


def test_only_labels_are_reviewed(runtime: Runtime, manifest: Path) -> None:
    text = manifest.read_text().replace('"label"', '"text"')
    speech = manifest.with_name("speech.jsonl")
    speech.write_text(text)
    import_manifest(runtime, "voices", str(speech), "speech")
    with pytest.raises(ValueError, match="only labels are reviewed"):
        queue_library(runtime, "voices")


def test_a_library_without_answers_has_nothing_to_review(runtime: Runtime, library: str) -> None:
    assert queue_library(runtime, library) == []


def test_disagreement_counts_the_labelers_that_say_otherwise() -> None:
    said = {"a": {"label": "dog"}, "b": {"label": "cat"}, "c": {"label": "cat"}, "d": {"label": "cat"}}
    assert doubt_of(candidate(by_labeler=said)).disagreement == 0.75
    assert doubt_of(candidate()).disagreement == 0
    assert doubt_of(candidate(status="unknown")).is_unknown


def test_random_clips_are_spread_over_the_queue() -> None:
    chosen = [NewReview(candidate(), "chosen", 1.0, 1)] * 8
    mixed = interleaved(chosen, [NewReview(candidate(), "random")] * 2)
    assert [at for at, one in enumerate(mixed) if one.drawn == "random"] == [4, 9]
    assert interleaved(chosen, []) == chosen
    assert len(interleaved([], [NewReview(candidate(), "random")])) == 1
