"""Days of a time zone: which one a run is for, and the folder or the time of last change that it means."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

DAY = "{day}"


def check_timezone(name: str) -> str:
    """The name itself. Raises ValueError where it is no time zone, with the nearest that is."""
    if name not in available_timezones():
        near = get_close_matches(name, available_timezones(), n=1)
        meant = f"did you mean {near[0]}?" if near else "write one like Europe/Berlin or UTC"
        raise ValueError(f"{name!r} is no time zone: {meant}")
    return name


def resolve_day(day: str, timezone: str, now: datetime) -> date | None:
    """Return the date that `day` means, None for any.

    `now` is when the run was due: a late run keeps its day. So does a run that a jump of the clocks moved to
    the evening before: yesterday@HH:MM was scheduled for this time, yesterday alone for one after midnight.
    """
    if day == "any":
        return None
    word, _, at = day.partition("@")
    if word not in ("today", "yesterday"):
        return date.fromisoformat(day)
    due = now.astimezone(ZoneInfo(timezone))
    meant = _before_the_jump(due)
    is_moved = meant.strftime("%H:%M") == at if at else word == "yesterday"
    today = meant.date() if is_moved else due.date()
    return today if word == "today" else _day_before(today, due.tzinfo)


def _before_the_jump(due: datetime) -> datetime:
    """Return the time on the clock for which a run was scheduled that now starts before midnight.

    Where clocks jump over midnight, as in Cairo, Prefect starts a run of 00:30 at 23:30 of the day before. A
    jump over a whole day moves nothing.
    """
    midnight = datetime.combine(due.date() + timedelta(days=1), time(), due.tzinfo)
    after, before = midnight.replace(fold=1).utcoffset(), midnight.utcoffset()
    assert after is not None
    assert before is not None
    jump = max(after - before, timedelta()) % timedelta(days=1)
    return due.replace(tzinfo=None) + jump


def _day_before(day: date, zone: tzinfo | None) -> date:
    """Return the last day that the zone's calendar has before this one: Samoa had no 30 December 2011."""
    begins = datetime.combine(day, time(), zone).astimezone(UTC)
    return (begins - timedelta.resolution).astimezone(zone).date()


def render_day(prefix: str, day: str, timezone: str, now: datetime) -> str:
    """The prefix with each {day} filled in as YYYY-MM-DD; days as for resolve_day.

    Raises ValueError for any day where one has to be filled in.
    """
    if DAY not in prefix:
        return prefix
    if (resolved := resolve_day(day, timezone, now)) is None:
        raise ValueError(f"{prefix!r} has {DAY}, so the day cannot be 'any': give today, yesterday or a date")
    return prefix.replace(DAY, resolved.isoformat())


def modified_span(prefix: str, day: str, timezone: str, now: datetime) -> tuple[datetime, datetime] | None:
    """The day from midnight to midnight in the time zone, None where the prefix or `any` says enough."""
    resolved = resolve_day(day, timezone, now)
    if DAY in prefix or resolved is None:
        return None
    midnight = datetime.combine(resolved, time(), ZoneInfo(timezone))
    return midnight, datetime.combine(resolved + timedelta(days=1), time(), ZoneInfo(timezone))
