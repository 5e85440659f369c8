"""The schedule of automatic retries of clips that failed for outside reasons."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, case, func, literal

from db.models import QuarantineRow

PASSING_REASONS = ("gone", "denied", "timeout", "transfer")
"""Reasons that come from a store or a machine and may pass; all others come from the bytes, which stay."""

_MAX_DOUBLINGS = 5


def is_due() -> ColumnElement[bool]:
    """Return the condition for open quarantine rows whose clip may be retried now."""
    return QuarantineRow.reason.in_(PASSING_REASONS) & (retry_at() <= func.now())


def retry_at() -> ColumnElement[datetime]:
    """Return when a row is due: after 1 hour, 6 hours, then 1, 2, 4 ... 32 days, by its attempts."""
    attempts = QuarantineRow.attempts
    days = func.power(2, func.least(attempts - 3, _MAX_DOUBLINGS))
    wait = case(
        (attempts == 1, _interval(timedelta(hours=1))),
        (attempts == 2, _interval(timedelta(hours=6))),
        # Four hours short, so that a night that starts a little earlier than the last one still tries.
        else_=_interval(timedelta(days=1)) * days - _interval(timedelta(hours=4)),
    )
    return QuarantineRow.last_seen + wait


def _interval(span: timedelta) -> ColumnElement[timedelta]:
    return literal(span, Interval)
