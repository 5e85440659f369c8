"""The queue of a library: clips whose review settles the most doubt, and a random share that measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from db.clips import Selection
from db.engine import session_scope
from db.libraries import LibraryVersion
from db.reviews.queue import (
    NewReview,
    QueuedClip,
    ReviewCandidate,
    doubtful_candidates,
    has_queue,
    open_queue,
    queue_of_run,
    random_candidates,
    reviewed_contents,
    save_queue,
)
from db.runs import RunClaim
from flows.pipeline.labeling.library_review import name_of, named_library
from flows.pipeline.labeling.setup import TASK
from flows.pipeline.libraries.by_label import refuse_multi_label
from flows.pipeline.reviews.vectors import review_vectors, stacked
from flows.pipeline.runs.run import recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from core.in_context.reviewing.doubts import Doubt
    from core.in_context.reviewing.queue import Pick

KIND = "review-queue"
QUEUE_SIZE = 10
RANDOM_SHARE = 0.2
"""Of a queue: two of ten clips measure the answers, sixty a month."""
MAX_COMPARED = 2_000
"""The least sure answers among which clips are chosen: they are compared with each other."""
RANDOM_REASON = "drawn at random, to measure how many answers are right; it never becomes a demonstration"


def queue_library(
    runtime: Runtime, library: str, size: int = QUEUE_SIZE, *, flow_run_id: str | None = None
) -> list[QueuedClip]:
    """Make the queue of a library version as a run of its own, and return the clips that wait.

    An equal queue is not made twice. Raises ValueError for a library of another task.
    """
    version = named_library(runtime, library)
    refuse_multi_label(version)
    if version.task != TASK:
        raise ValueError(f"library {version.name} is for {version.task}: only labels are reviewed")
    parameters = {"library": name_of(version), "size": size}
    with recorded_run(runtime, KIND, version.name, parameters, flow_run_id=flow_run_id) as run:
        make_queue(runtime, version, run.claim, size)
    with session_scope(runtime.engine) as session:
        return open_queue(session, version.name)


def make_queue(
    runtime: Runtime,
    library: LibraryVersion,
    run: RunClaim,
    size: int = QUEUE_SIZE,
    night: Selection | None = None,
) -> list[QueuedClip]:
    """Write the queue of a run, and return it; a run that is taken up again keeps its queue.

    Random clips are drawn among those of a night, else among all that the version answered. Nothing is
    written if the clips that wait are the ones that would be asked about.
    """
    with session_scope(runtime.engine) as session:
        if has_queue(session, run.writes_as):
            return queue_of_run(session, run.writes_as)
        waiting = open_queue(session, library.name)
        drawn = random_candidates(
            session,
            library.name,
            library.id,
            round(size * RANDOM_SHARE),
            waiting=[one.content_sha256 for one in waiting if one.drawn == "random"],
            night=night,
        )
        doubtful = doubtful_candidates(session, library.name, library.id, MAX_COMPARED)
        reviewed = reviewed_contents(session, library.name)
    random = [NewReview(one, RANDOM_REASON) for one in drawn]
    measured = {one.content_sha256 for one in drawn}
    others = [one for one in doubtful if one.content_sha256 not in measured]
    chosen = choose(runtime, library, others, reviewed, size - len(random))
    reviews = interleaved(chosen, random)
    if {one.candidate.prediction_id for one in reviews} == {one.answer for one in waiting}:
        return waiting
    with run_session(runtime, run) as session:
        save_queue(session, run.writes_as, library.id, reviews)
        return queue_of_run(session, run.writes_as)


def choose(
    runtime: Runtime,
    library: LibraryVersion,
    candidates: Sequence[ReviewCandidate],
    reviewed: Collection[bytes],
    count: int,
) -> list[NewReview]:
    """Return the clips whose review settles the most doubt, with the reason for each."""
    from core.in_context.reviewing.doubts import weights
    from core.in_context.reviewing.queue import choose_reviews

    known = {row.content_sha256 for row in library.demonstrations} | set(reviewed)
    vectors = review_vectors(runtime, {one.content_sha256 for one in candidates} | known)
    comparable = [one for one in candidates if one.content_sha256 in vectors]
    if not comparable:
        return []
    doubts = [doubt_of(one) for one in comparable]
    own = stacked(vectors, [one.content_sha256 for one in comparable])
    picks = choose_reviews(weights(doubts), own, stacked(vectors, sorted(known & vectors.keys())), count)
    return [_review(comparable[pick.number], pick) for pick in picks]


def doubt_of(candidate: ReviewCandidate) -> Doubt:
    """Return what makes an answer doubtful."""
    from core.in_context.reviewing.doubts import Doubt

    said = _others_say(candidate)
    disagreement = sum(label != candidate.label for label in said) / len(said) if said else 0.0
    return Doubt(candidate.margin, disagreement, candidate.status == "unknown")


def interleaved(chosen: Sequence[NewReview], random: Sequence[NewReview]) -> list[NewReview]:
    """Return both with the random ones spread evenly, so that a queue left half-way has its share of them."""
    places = {(number + 1) * (len(chosen) + len(random)) // len(random) - 1 for number in range(len(random))}
    some, others = iter(chosen), iter(random)
    return [next(others if place in places else some) for place in range(len(chosen) + len(random))]


def _review(candidate: ReviewCandidate, pick: Pick) -> NewReview:
    return NewReview(candidate, "; ".join(_reasons(candidate, pick.stands_for)), pick.gain, pick.stands_for)


def _reasons(candidate: ReviewCandidate, stands_for: int) -> list[str]:
    """Return why a clip is asked about, in the order of what weighs most."""
    said = _others_say(candidate)
    others = Counter(label for label in said if label != candidate.label)
    found = ["no demonstration sounds like it"] if candidate.status == "unknown" else []
    found.append(f"leads the next label by {candidate.margin:.2f}")
    if others:
        most = min(others, key=lambda label: (-others[label], label))
        found.append(f"{others.total()} of {len(said)} other labelers disagree, most say {most}")
    alike = stands_for - 1
    return (
        [
            *found,
            f"{alike} other doubtful clip{'s' if alike != 1 else ''} sound{'s' if alike == 1 else ''} "
            "like it",
        ]
        if alike
        else found
    )


def _others_say(candidate: ReviewCandidate) -> list[str]:
    return [guess["label"] for guess in candidate.by_labeler.values()]
