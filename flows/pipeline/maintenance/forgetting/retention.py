"""Retention by age: what no listing had for as many days as a place keeps clips is forgotten."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.forgetting import find_extent, shown_contents, unseen_contents
from flows.pipeline.maintenance.forgetting.forget import ForgetRequest, Forgetting, HideInPrefect, forget
from flows.pipeline.nights.bounds import WatchedPlace, watched_place
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runtime.resources import Runtime


def forget_old(runtime: Runtime, partition: Partition, hide_in_prefect: HideInPrefect) -> Forgetting | None:
    """Forget the contents that are too old for the watched place of a night; None if there are none.

    What libraries in use show is kept, what their audio was made of, and what has a clip outside the place.
    """
    watched = watched_place(runtime, partition)
    if watched is None or not watched.bounds.keep_days:
        return None
    old = _too_old(runtime, watched)
    if not old:
        return None
    wanted = ForgetRequest(frozenset(old), frozenset())
    return forget(runtime, wanted, in_use=True, hide_in_prefect=hide_in_prefect)


def _too_old(runtime: Runtime, watched: WatchedPlace) -> set[bytes]:
    with session_scope(runtime.engine) as session:
        unseen = unseen_contents(session, watched.folder, watched.bounds.keep_days)
        old = {content for content, uris in unseen.items() if all(map(watched.holds, uris))}
        return old - _shown_somehow(session, old)


def _shown_somehow(session: Session, contents: Collection[bytes]) -> set[bytes]:
    """Return those of the contents that libraries in use show, or audio made of them."""
    if not shown_contents(session, find_extent(session, contents, ()).contents):
        return set()
    return {one for one in contents if shown_contents(session, find_extent(session, {one}, ()).contents)}
