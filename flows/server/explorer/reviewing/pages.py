"""The queues, and the page on which one clip is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clip import ClipFacts, get_clip, list_past_answers
from db.explorer.comparisons import SidesCompared, clips_at, list_comparisons
from db.explorer.reviews import (
    Accuracy,
    PastLesson,
    Queue,
    Review,
    clip_of,
    get_review,
    last_lesson,
    list_accuracy,
    list_queue,
    list_queues,
)
from flows.server.explorer.charts import Chart, share_chart
from flows.server.explorer.pages.clip import MAX_ANSWERS, Neighbors, neighbors_of, strip_of
from flows.server.explorer.query import given_text, reading
from flows.server.explorer.rendering import page
from flows.server.explorer.reviewing.deciding import reviewer_of
from flows.server.explorer.reviewing.labels import keyed_labels

MAX_QUEUES, MAX_ACCURACIES, MAX_COMPARISONS = 100, 2_000, 3
FORMS_ARE_OURS = {"Referrer-Policy": "same-origin"}
"""Without a referrer a browser would send forms as from nowhere, which are refused."""


@dataclass(frozen=True)
class LibraryReviews:
    """A library's queue, and how right its answers are."""

    queue: Queue
    lesson: PastLesson | None
    overall: Sequence[Accuracy]
    by_label: Sequence[Accuracy]
    weeks: Sequence[Accuracy]
    comparisons: Sequence[SidesCompared]
    suspects: Mapping[str, int]

    @property
    def measured(self) -> tuple[float, float] | None:
        """Return the interval of the accuracy that random reviews give the version that was learned last."""
        from core.in_context.choosing.choice import wilson_interval

        measured = self.lesson.scores.get("random reviews") if self.lesson else None
        return wilson_interval(measured["new"], int(measured["questions"])) if measured else None

    @property
    def chart(self) -> Chart | None:
        """Return the accuracy over the weeks, if there are two."""
        by_week = {one.week: one.accuracy for one in self.weeks if one.week and one.label is None}
        weeks = sorted(by_week)
        return share_chart("Right answers", [*map(str, weeks)], {"right": [by_week[one] for one in weeks]})


def queues(request: Request) -> Response:
    """Show the queue of each library, and the accuracy of its answers from random reviews."""
    with reading(request) as session:
        named = given_text(request, "library")
        queues_ = [one for one in list_queues(session, MAX_QUEUES) if named in (None, one.library)]
        found = [_library(session, one) for one in queues_]
    return page("reviews.html", libraries=found, done=given_text(request, "done"))


def review(request: Request) -> Response:
    """Show a queued clip with the labels to choose from."""
    with reading(request) as session:
        found = get_review(session, min(int(request.path_params["review"]), 2**63 - 1))
        if found is None:
            raise HTTPException(404, "No clip is queued under this number")
        clip = get_clip(session, number) if (number := clip_of(session, found)) else None
        queue = list_queue(session, found.run)
        response = page(
            "review.html",
            review=found,
            clip=clip,
            strip=strip_of(session, clip, 0.0) if clip else None,
            labels=keyed_labels(session, found),
            neighbors=_neighbors(session, found, clip),
            queue=queue,
            before=_before(queue, found),
            reviewer=reviewer_of(request),
            token=uuid4().hex,
            asides=[],
            at=0.0,
        )
    response.headers.update(FORMS_ARE_OURS)
    return response


def _neighbors(session: Session, review: Review, clip: ClipFacts | None) -> Neighbors:
    """Return the demonstrations most like a clip, as the labeler compares them whose answer is judged."""
    past = list_past_answers(session, clip, MAX_ANSWERS) if clip else []
    judged = next((one for one in past if one.answer == review.answer), None)
    return neighbors_of(session, review.content_sha256, judged) if judged else Neighbors(None, ())


def _before(queue: Sequence[Review], review: Review) -> Review | None:
    earlier = [one for one in queue if one.position < review.position]
    return earlier[-1] if earlier else None


def _library(session: Session, queue: Queue) -> LibraryReviews:
    rows = list_accuracy(session, queue.library, MAX_ACCURACIES)
    lesson = last_lesson(session, queue.library)
    return LibraryReviews(
        queue,
        lesson,
        [one for one in rows if one.week is None and one.label is None],
        [one for one in rows if one.week is None and one.label is not None and one.version == queue.version],
        [one for one in rows if one.week is not None],
        list_comparisons(session, queue.library, MAX_COMPARISONS),
        clips_at(session, lesson.suspects) if lesson else {},
    )
