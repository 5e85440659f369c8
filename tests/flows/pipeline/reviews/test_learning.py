"""From decisions to a version that answers: what is learned, what is asked, and how it is taken back."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from core.in_context.reviewing.prototypes import keep_helpful
from db.engine import session_scope
from db.libraries import LibraryDemonstration, import_library, use_library, version_in_use
from db.promotions import ModelSet, latest_model_set, promote, promoted_model_set
from db.reviews.decisions import decided_clips
from flows.pipeline.labeling.library_review import named_library
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.nights.jobs import Night, with_bar
from flows.pipeline.reviews import learning
from flows.pipeline.reviews.learning import NothingToLearn, promote_library, propose
from flows.pipeline.reviews.lessons import lesson_of
from flows.pipeline.reviews.report import morning_line, proposal_lines
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows
from tests.flows.pipeline.reviews.conftest import decide, run, truth, waiting

LABELS = "SELECT uri, label FROM analytics.labels WHERE library = 'sounds' ORDER BY uri"


def decide_all(runtime: Runtime) -> None:
    for clip in waiting(runtime):
        label = truth(clip)
        decide(runtime, clip, label if label != "beep" else "tone")


def used(runtime: Runtime) -> int | None:
    with session_scope(runtime.engine) as session:
        return version_in_use(session, "sounds")


def test_decisions_make_the_next_version_and_put_nothing_into_use(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    before = rows(runtime.engine, LABELS)
    proposal, recorded = propose(runtime, "sounds")
    assert (proposal.old.version, proposal.new.version) == (1, 2)
    assert proposal.decided == 5
    assert len(proposal.lesson.added) == 4
    assert used(runtime) == 1
    assert rows(runtime.engine, LABELS) == before
    assert proposal.outlook.clips == proposal.outlook.compared == 12
    summary = rows(runtime.engine, "SELECT summary ->> 'to' FROM runs WHERE id = :run", run=recorded.id)
    assert summary == [("sounds@2",)]


def test_random_reviews_measure_and_are_never_demonstrated(runtime: Runtime, night: Night) -> None:
    random = {clip.content_sha256 for clip in waiting(runtime) if clip.drawn == "random"}
    decide_all(runtime)
    proposal, _ = propose(runtime, "sounds")
    assert random
    assert not random & {row.content_sha256 for row in proposal.new.demonstrations}
    assert proposal.scores.parts["random reviews"].questions == 1


def test_a_decided_clip_that_is_drawn_at_random_later_measures_and_teaches_no_more(
    runtime: Runtime, night: Night, clips: Path
) -> None:
    decide_all(runtime)
    run(runtime, clips, reviews=500)
    queue = waiting(runtime)
    assert {clip.drawn for clip in queue} == {"random"}
    assert len(queue) == 11
    with pytest.raises(NothingToLearn):
        propose(runtime, "sounds")


def test_the_next_proposal_of_the_same_decisions_is_the_same_version(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    first, second = (propose(runtime, "sounds")[0] for _ in range(2))
    assert first.new == second.new


def test_what_was_listed_before_is_what_changes_and_undo_takes_it_back(
    runtime: Runtime, night: Night
) -> None:
    decide_all(runtime)
    before = rows(runtime.engine, LABELS)
    proposal, _ = propose(runtime, "sounds")
    promotion, recorded = promote_library(runtime, "sounds@2", with_bar)
    after = rows(runtime.engine, LABELS)
    changed = {uri for (uri, old), (_, new) in zip(before, after, strict=True) if old != new}
    assert {change.uri for change in proposal.outlook.changes} == changed
    assert promotion.moved == len(changed)
    assert used(runtime) == 2
    undone = undo(runtime, recorded.id)
    assert rows(runtime.engine, LABELS) == before
    assert used(runtime) == 1
    undo(runtime, undone.id)
    assert rows(runtime.engine, LABELS) == after
    assert used(runtime) == 2


def stop(*_: object) -> int:
    raise RuntimeError("stopped half-way")


@pytest.mark.parametrize("status", ["failed", "running"])
def test_undo_of_a_promotion_that_stopped_half_way_brings_back_what_was_before_it(
    runtime: Runtime, night: Night, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    with session_scope(runtime.engine) as session:
        before = latest_model_set(session, "label", "sounds", ModelSet(0, 0, None))
        assert before
        promote(session, "label", before)
    decide_all(runtime)
    propose(runtime, "sounds")
    with monkeypatch.context() as patch:
        patch.setattr(learning, "answer_again", stop)
        with pytest.raises(RuntimeError, match="stopped half-way"):
            promote_library(runtime, "sounds@2", with_bar)
    ended = "UPDATE runs SET status = :status, finished_at = CASE :status WHEN 'failed' THEN now() END"
    with session_scope(runtime.engine) as session:
        session.execute(text(f"{ended} WHERE kind = 'promote-library'"), {"status": status})
        assert promoted_model_set(session, "label", "sounds") != before
    promotion, recorded = promote_library(runtime, "sounds@2", with_bar)
    assert promotion.before == "sounds@1"
    undo(runtime, recorded.id)
    with session_scope(runtime.engine) as session:
        assert promoted_model_set(session, "label", "sounds") == before
    assert used(runtime) == 1


def test_a_promotion_that_is_taken_up_again_counts_all_labels_that_it_moved(
    runtime: Runtime, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_all(runtime)
    propose(runtime, "sounds")
    before = rows(runtime.engine, LABELS)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(learning, "run_once", stop)  # all is answered, and the last step fails
            with pytest.raises(RuntimeError, match="stopped half-way"):
                promote_library(runtime, "sounds@2", with_bar)
    promotion, _ = promote_library(runtime, "sounds@2", with_bar)
    after = rows(runtime.engine, LABELS)
    moved = sum(old != new for old, new in zip(before, after, strict=True))
    assert promotion.moved == moved > 0
    assert promote_library(runtime, "sounds@2", with_bar)[0].moved == 0


def test_what_a_version_demonstrates_is_no_question_about_it(runtime: Runtime, night: Night) -> None:
    queue = waiting(runtime)
    random = next(clip for clip in queue if clip.drawn == "random")
    shown = named_library(runtime, "sounds").demonstrations
    use_new(runtime, [*shown, LibraryDemonstration(random.content_sha256, "tone", random.uri)])
    for clip in queue:
        decide(runtime, clip, "tone")
    proposal, _ = propose(runtime, "sounds")
    assert "random reviews" not in proposal.scores.parts


def test_undo_of_a_promotion_leaves_a_later_version_in_use(runtime: Runtime, night: Night) -> None:
    queue = waiting(runtime)
    decide(runtime, next(clip for clip in queue if clip.drawn == "chosen"), "tone")
    propose(runtime, "sounds")
    _, first = promote_library(runtime, "sounds@2", with_bar)
    other = [clip for clip in queue if clip.drawn == "chosen"][1]
    decide(runtime, other, "hiss")
    propose(runtime, "sounds")
    promote_library(runtime, "sounds@3", with_bar)
    undo(runtime, first.id)
    assert used(runtime) == 3


def test_without_a_decision_there_is_nothing_to_learn(runtime: Runtime, night: Night) -> None:
    with pytest.raises(NothingToLearn, match="wordwave review sounds"):
        propose(runtime, "sounds")
    queue = waiting(runtime)
    decide(runtime, next(clip for clip in queue if clip.drawn == "random"), "tone")
    decide(runtime, next(clip for clip in queue if clip.drawn == "chosen"), None, verdict="skip")
    with pytest.raises(NothingToLearn, match="1 were drawn at random"):
        propose(runtime, "sounds")


def use_new(runtime: Runtime, rows: Sequence[LibraryDemonstration]) -> int:
    """Put a version into use that somebody made by hand."""
    with session_scope(runtime.engine) as session:
        version = import_library(session, "sounds", "label", None, rows).version
        use_library(session, "sounds", version)
    return version


def test_learning_comes_to_rest_where_a_version_dropped_what_was_decided(
    runtime: Runtime, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_helpful, "__defaults__", (3, ()))
    for clip in waiting(runtime):
        decide(runtime, clip, "tone")
    proposal, _ = propose(runtime, "sounds")
    assert len(proposal.lesson.added) == 3
    with session_scope(runtime.engine) as session:
        use_library(session, "sounds", proposal.new.version)
    with pytest.raises(NothingToLearn, match="since sounds@2 was made"):
        propose(runtime, "sounds")


def test_a_version_made_by_hand_learns_only_later_decisions_and_only_its_labels(
    runtime: Runtime, night: Night
) -> None:
    first, second, *_ = (clip for clip in waiting(runtime) if clip.drawn == "chosen")
    decide(runtime, first, "hiss")
    shown = named_library(runtime, "sounds").demonstrations
    version = use_new(runtime, [row for row in shown if row.label == "hiss"])
    decide(runtime, second, "tone")
    with pytest.raises(NothingToLearn, match=f"teach sounds@{version} nothing"):
        propose(runtime, "sounds")


def test_a_reviewer_contradicts_a_demonstration_and_the_newest_wins(runtime: Runtime, night: Night) -> None:
    clip = next(clip for clip in waiting(runtime) if clip.drawn == "chosen")
    decide(runtime, clip, "tone", "anna")
    propose(runtime, "sounds")
    promote_library(runtime, "sounds@2", with_bar)
    decide(runtime, clip, "hiss", "ben")
    proposal, _ = propose(runtime, "sounds")
    (found,) = proposal.lesson.contradictions
    assert (found.demonstration.label, found.decided.label) == ("tone", "hiss")
    labels = {row.content_sha256: row.label for row in proposal.new.demonstrations}
    assert labels[clip.content_sha256] == "hiss"
    text = "\n".join(proposal_lines(proposal))
    assert "contradicts a demonstration" in text
    assert "disputed" in text


def test_none_of_these_takes_a_demonstration_away_unless_its_label_would_be_gone(
    runtime: Runtime, night: Night
) -> None:
    clip = next(clip for clip in waiting(runtime) if clip.drawn == "chosen")
    decide(runtime, clip, "tone", "anna")
    propose(runtime, "sounds")
    promote_library(runtime, "sounds@2", with_bar)
    decide(runtime, clip, None, "ben")
    proposal, _ = propose(runtime, "sounds")
    assert {row.content_sha256 for row in proposal.new.demonstrations} == {
        row.content_sha256 for row in named_library(runtime, "sounds@1").demonstrations
    }


def test_a_clip_that_vanished_since_its_decision_still_teaches(
    runtime: Runtime, night: Night, clips: Path
) -> None:
    decide_all(runtime)
    for path in clips.glob("*-0.wav"):
        path.unlink()
    run(runtime, clips, reviews=0)
    proposal, _ = propose(runtime, "sounds")
    assert len(proposal.lesson.added) == 4
    assert proposal.outlook.clips == 9


def test_canaries_never_become_demonstrations(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    with session_scope(runtime.engine) as session:
        decided = decided_clips(session, "sounds")
    held_out = {one.content_sha256 for one in decided[:2]}
    lesson = lesson_of(runtime, named_library(runtime, "sounds"), decided, held_out)
    assert not held_out & {row.content_sha256 for row in lesson.demonstrations}


def test_the_morning_line_says_what_the_answers_were_worth(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    proposal, _ = propose(runtime, "sounds")
    promotion, _ = promote_library(runtime, "sounds@2", with_bar)
    line = morning_line(proposal, promotion)
    assert line.startswith(f"your 5 answers moved {promotion.moved} labels; accuracy on 1 random reviews ")
