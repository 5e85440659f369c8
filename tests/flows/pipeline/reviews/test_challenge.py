"""Champion and challenger on the same clips: scored, compared label by label, and nothing put into use."""

from pathlib import Path

import pytest

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.nights.jobs import Night
from flows.pipeline.reviews.challenge import challenge
from flows.pipeline.reviews.learning import propose
from flows.pipeline.reviews.report import contest_lines
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.flows.pipeline.reviews.test_learning import LABELS, decide_all, used

COMPARED = """
SELECT champion, challenger, compared, changed, agreement, kept, moves FROM analytics.comparisons
ORDER BY finished_at DESC LIMIT 1
"""


def test_a_version_challenges_what_answers_now_and_changes_nothing(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    proposal, _ = propose(runtime, "sounds")
    before = rows(runtime.engine, LABELS)
    contest, _ = challenge(runtime, "sounds@2")
    assert set(contest.scores.parts) == {"random reviews"}
    ahead = contest.outlook
    assert ahead.changes == proposal.outlook.changes
    assert ahead.compared == 12 == sum(ahead.kept.values()) + len(ahead.changes)
    assert contest.agreement == pytest.approx(1 - len(ahead.changes) / 12)
    assert contest.promoted_by == "wordwave library promote sounds@2"
    assert rows(runtime.engine, LABELS) == before
    assert used(runtime) == 1
    ((champion, challenger, compared, changed, agreement, kept, moves),) = rows(runtime.engine, COMPARED)
    assert champion.startswith("the answers now: sounds@1, codec ")
    assert challenger.startswith("sounds@2, codec ")
    assert (compared, changed, agreement) == (12, len(ahead.changes), contest.agreement)
    assert sum(move["clips"] for move in moves) == changed
    assert {uri for move in moves for uri in move["examples"]} <= {one.uri for one in ahead.changes}
    assert sum(kept.values()) == compared - changed
    assert "both call " in "\n".join(contest_lines(contest))


def test_two_named_versions_are_compared_in_either_direction(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    propose(runtime, "sounds")
    there, _ = challenge(runtime, "sounds@2", "sounds@1")
    back, _ = challenge(runtime, "sounds@1", "sounds@2")
    assert [(one.uri, one.before, one.after) for one in there.outlook.changes] == [
        (one.uri, one.after, one.before) for one in back.outlook.changes
    ]
    assert there.scores.together.old == back.scores.together.new
    assert there.promoted_by == "wordwave library promote sounds@2"
    assert back.promoted_by == "nothing, sounds@1 is in use"


def test_another_labeler_challenges_the_chosen_one(runtime: Runtime, night: Night) -> None:
    before = rows(runtime.engine, LABELS)
    contest, _ = challenge(runtime, "sounds@1", labeler="nearest-neighbour")
    assert contest.challenger.endswith("no LLM, by nearest-neighbour")
    assert contest.promoted_by == "wordwave choose-labeler sounds@1 'nearest-neighbour'"
    assert contest.outlook.compared == 12
    assert rows(runtime.engine, LABELS) == before


def test_all_steps_are_named_that_put_a_challenger_into_use(runtime: Runtime, night: Night) -> None:
    decide_all(runtime)
    propose(runtime, "sounds")
    contest, _ = challenge(runtime, "sounds@2", labeler="nearest-neighbour")
    steps = ["wordwave choose-labeler sounds@2 'nearest-neighbour'", "wordwave library promote sounds@2"]
    assert contest.promoted_by.split(", then ") == steps


def test_another_language_model_challenges_the_stored_answers(
    settings: Settings, runtime: Runtime, night: Night, tmp_path: Path
) -> None:
    other = Runtime(settings.model_copy(update={"llm": str(write_llama(tmp_path / "llama"))}))
    try:
        contest, _ = challenge(other, "sounds")
    finally:
        other.close()
    assert ", no LLM" in contest.champion
    assert ", LLM " in contest.challenger
    assert contest.challenger.endswith(", by few-shot")
    assert contest.outlook.compared == 12
    assert "upgrade-models" in contest.promoted_by


def test_the_same_on_both_sides_is_refused(runtime: Runtime, night: Night) -> None:
    with pytest.raises(ValueError, match="sounds@1 is in use: name another version"):
        challenge(runtime, "sounds@1")
    with pytest.raises(ValueError, match="sounds@1 is on both sides"):
        challenge(runtime, "sounds@1", "sounds@1")
