"""A decision: the one thing that these pages write."""

import re
from urllib.parse import quote, unquote

from sqlalchemy import text
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db.engine import session_scope
from db.explorer.reviews import Review, decide, get_review, list_queue
from db.reviews.decisions import MAX_NOTE_LENGTH, MAX_REVIEWER_LENGTH, NewDecision, Verdict
from flows.server.explorer.query import TIMEOUT, explorer_of
from flows.server.explorer.rendering import link
from flows.server.explorer.reviewing.forms import Form, line_of, read_form
from flows.server.explorer.reviewing.labels import is_known, keyed_labels, shown_to

REVIEWER = "reviewer"
"""The cookie that keeps a person's name."""
YEAR_SECONDS = 31_536_000
_TOKEN = re.compile(r"[0-9a-f]{32}")


async def decision(request: Request) -> Response:
    """Record a decision and go to the next clip; the same form sent twice counts once."""
    form = await read_form(request)
    return await run_in_threadpool(_record, request, form)


def reviewer_of(request: Request) -> str | None:
    """Return the name that a person gave before, if any."""
    return unquote(request.cookies.get(REVIEWER, ""))[:MAX_REVIEWER_LENGTH] or None


def next_address(session: Session, review: Review) -> str:
    """Return the address of the next clip of the queue that waits, or of the end."""
    waiting = [one for one in list_queue(session, review.run) if one.is_open and one.review != review.review]
    later = [one for one in waiting if one.position > review.position]
    if found := later or waiting:
        return f"/reviews/{found[0].review}"
    return link("/reviews", done=review.library)


def _record(request: Request, form: Form) -> Response:
    name = line_of(form, REVIEWER, MAX_REVIEWER_LENGTH) or reviewer_of(request)
    if name is None:
        raise HTTPException(400, "A decision needs the name of who decides: go back and give it")
    with session_scope(explorer_of(request).engine) as session:
        # transactions of these pages read only, unless one asks for more; what it may write is granted
        session.execute(text("SET TRANSACTION READ WRITE"))
        session.execute(text(f"SET LOCAL statement_timeout = '{TIMEOUT}'"))
        review = get_review(session, min(int(request.path_params["review"]), 2**63 - 1))
        if review is None:
            raise HTTPException(404, "No clip is queued under this number")
        decide(session, _decision(session, request, form, review, name))
        answer = RedirectResponse(next_address(session, review), status_code=303)
    answer.set_cookie(
        REVIEWER, quote(name), max_age=YEAR_SECONDS, path="/reviews", httponly=True, samesite="strict"
    )
    return answer


def _decision(session: Session, request: Request, form: Form, review: Review, name: str) -> NewDecision:
    labels = keyed_labels(session, review)
    verdict: Verdict = "none" if "none" in form else "skip" if "skip" in form else "label"
    label = form.get("label") if verdict == "label" else None
    if verdict == "label" and not (label and is_known(label, labels)):
        raise HTTPException(400, f"The form names no label of {review.library}@{review.version}: go back")
    token = form.get("decision", "")
    if not _TOKEN.fullmatch(token):
        raise HTTPException(400, "The form is not the one of this page: load it again")
    return NewDecision(
        review_id=review.review,
        verdict=verdict,
        label=label,
        note=line_of(form, "note", MAX_NOTE_LENGTH),
        reviewer=name,
        came_from=request.client.host if request.client else "",
        shown=shown_to(review, labels),
        external_id=token,
    )
