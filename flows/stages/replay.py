"""Quarantined clips get another try: after a fix outside, or with other limits."""

from db.engine import session_scope
from db.quarantine import open_quarantine, resolve
from flows.runtime import Runtime
from flows.storage.location import canonical


def replay(runtime: Runtime, place: str, reasons: tuple[str, ...]) -> int:
    """Closes open quarantine rows of a place, for some reasons or all: the next run tries those clips again.

    Returns how many clips that were. The rows stay as history.
    """
    with session_scope(runtime.engine) as session:
        rows = open_quarantine(session, canonical(place))
        chosen = [row for row in rows if not reasons or row.reason in reasons]
        stages = {row.stage for row in chosen}
        return sum(
            resolve(session, stage, [row.clip_id for row in chosen if row.stage == stage]) for stage in stages
        )
