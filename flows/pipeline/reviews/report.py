"""Queues, proposals and promotions in words."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from core.in_context.reviewing.comparison import Gain
from db.reviews.queue import QueuedClip
from flows.pipeline.labeling.library_review import name_of
from flows.pipeline.reviews.again import Outlook
from flows.pipeline.reviews.challenge import Contest
from flows.pipeline.reviews.learning import AppliedProposal, Proposal
from flows.pipeline.reviews.lessons import Lesson
from flows.pipeline.reviews.scoring import Scores

MAX_EXAMPLES = 10


def queue_lines(queue: Sequence[QueuedClip]) -> Iterator[str]:
    """Yield a table of the clips that wait. The address comes last, since it may be long."""
    if not queue:
        yield "nothing waits for a review"
        return
    yield f"{'review':>8}  {'label':<16}{'margin':>8}  clip"
    for clip in queue:
        yield f"{clip.review:>8}  {clip.label:<16}{clip.margin:>8.3f}  {clip.uri}"
        yield f"{'':>8}  {clip.reason}"


def proposal_lines(proposal: Proposal) -> Iterator[str]:
    """Yield what a version learned, how it scored and what it would change."""
    lesson = proposal.lesson
    yield (
        f"{name_of(proposal.new)} learns from {proposal.decided} decided clips: {len(lesson.added)} "
        f"demonstrations more than {name_of(proposal.old)}, without {len(lesson.dropped)} that are not needed"
    )
    yield from lesson_lines(lesson)
    yield from score_lines(proposal.scores)
    yield from outlook_lines(proposal.outlook)
    yield verdict_line(proposal)


def lesson_lines(lesson: Lesson) -> Iterator[str]:
    """Yield what people contradict, dispute, or should listen to again."""
    for one in lesson.contradictions[:MAX_EXAMPLES]:
        said = one.decided.label or "none of the labels"
        yield (
            f"contradicts a demonstration: {one.demonstration.uri} was {one.demonstration.label}, "
            f"{one.decided.latest.reviewer} says {said}"
        )
    for clip in lesson.disputed[:MAX_EXAMPLES]:
        others = ", ".join(f"{one.reviewer} {one.label or 'none'}" for one in clip.earlier)
        yield f"disputed: {clip.uri} is {clip.label or 'none'} by {clip.latest.reviewer}, before: {others}"
    for suspect in lesson.suspects[:MAX_EXAMPLES]:
        shown = suspect.demonstration
        yield f"looks mislabeled: {shown.uri} is {shown.label}, the others say {suspect.others_say}"


def score_lines(scores: Scores) -> Iterator[str]:
    """Yield the scores of both versions by kind of question."""
    for kind, gain in scores.parts.items():
        yield gain_line(kind, gain)
    yield gain_line("together", scores.together)


def gain_line(kind: str, gain: Gain) -> str:
    """Return a gain in words."""
    if not gain.questions:
        return f"{kind}: no question, so nothing is known of the gain"
    return (
        f"{kind}: {100 * gain.old:.0f} to {100 * gain.new:.0f} % of {gain.questions} right, "
        f"a gain of {100 * gain.gain:+.0f} points ({100 * gain.low:+.0f} to {100 * gain.high:+.0f} with 95 %)"
    )


def outlook_lines(ahead: Outlook) -> Iterator[str]:
    """Yield what the last nights would cost and change."""
    if not ahead.nights:
        yield "no clips are compared: no night was labeled by this library yet"
        return
    cost = "" if ahead.minutes is None else f", about {ahead.minutes:.0f} minutes"
    yield (
        f"answering the last {ahead.nights} nights again: {ahead.clips} clips{cost}; about "
        f"{ahead.expected_changes} labels would change ({len(ahead.changes)} of {ahead.compared} compared)"
    )
    for (before, after), count in ahead.moves.most_common(MAX_EXAMPLES):
        yield f"{count:>6}  {before} to {after}"
    for change in ahead.changes[:MAX_EXAMPLES]:
        yield f"        {change.uri}: {change.before} to {change.after}"


def contest_lines(contest: Contest) -> Iterator[str]:
    """Yield how two sides answered the same clips."""
    yield f"champion: {contest.champion}"
    yield f"challenger: {contest.challenger}"
    yield from score_lines(contest.scores)
    if contest.agreement is not None:
        yield f"both call {100 * contest.agreement:.1f} % of {contest.outlook.compared} clips the same"
    yield from outlook_lines(contest.outlook)
    yield f"to put the challenger into use: {contest.promoted_by}"


def comparison_page(explore_url: str | None, run: UUID) -> str:
    """Return where the page of a comparison is."""
    address = f"{explore_url}/comparisons/{run}" if explore_url else f"/comparisons/{run} of wordwave explore"
    return f"to listen to what moves: {address}"


def verdict_line(proposal: Proposal) -> str:
    """Return whether the rule promotes the version, and why."""
    scores = proposal.scores
    if scores.is_better:
        return f"{name_of(proposal.new)} is better: the gain is above zero at its lower bound"
    low = scores.together.low
    reason = (
        f"the gain may be {100 * low:+.0f} points"
        if low <= 0
        else "random reviews or canaries are answered worse"
    )
    return f"{name_of(proposal.new)} is not better for sure: {reason}"


def morning_line(proposal: Proposal, promotion: AppliedProposal | None) -> str:
    """Return what the decisions were worth in a sentence."""
    moved = (
        f"your {proposal.decided} answers moved {promotion.moved} labels"
        if promotion
        else f"your {proposal.decided} answers would move about {proposal.outlook.expected_changes} labels"
    )
    wrong = len(proposal.lesson.suspects)
    looks = f"{wrong} demonstration{'s' if wrong != 1 else ''} look{'s' if wrong == 1 else ''} mislabeled"
    parts = [moved, *_accuracy(proposal.scores), *([looks] if wrong else [])]
    return "; ".join(parts)


def _accuracy(scores: Scores) -> list[str]:
    from core.in_context.choosing.choice import wilson_interval
    from flows.pipeline.reviews.scoring import RANDOM

    gain = scores.parts.get(RANDOM)
    if gain is None:
        return []
    low, high = (100 * end for end in wilson_interval(gain.new, gain.questions))
    return [
        f"accuracy on {gain.questions} random reviews {100 * gain.old:.0f} to {100 * gain.new:.0f} % "
        f"[{low:.0f}, {high:.0f}]"
    ]
