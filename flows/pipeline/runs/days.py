"""Days of a time zone: the day that a run is for, and its folder or span of time."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

DAY = "{day}"


def check_timezone(name: str) -> str:
    """Return the name of a time zone. Raises ValueError with the closest match for any other name."""
    if name not in available_timezones():
        matches = get_close_matches(name, available_timezones(), n=1)
        advice = f"did you mean {matches[0]}?" if matches else "write one like Europe/Berlin or UTC"
        raise ValueError(f"{name!r} is not a time zone: {advice}")
    return name


def resolve_day(day: str, timezone: str, now: datetime) -> date | None:
    """Return the date of `day`, None for `any`.

    `now` is when the run was due, so that a late run keeps its day. So does a run that a clock change moved
    to the evening before: yesterday@HH:MM was scheduled for this time, yesterday alone for one after
    midnight.
    """
    if day == "any":
        return None
    word, _, at = day.partition("@")
    if word not in ("today", "yesterday"):
        return date.fromisoformat(day)
    due = now.astimezone(ZoneInfo(timezone))
    scheduled = _before_the_jump(due)
    is_moved = scheduled.strftime("%H:%M") == at if at else word == "yesterday"
    today = scheduled.date() if is_moved else due.date()
    return today if word == "today" else _day_before(today, due.tzinfo)


def _before_the_jump(due: datetime) -> datetime:
    """Return the clock time for which a run was scheduled that now starts before midnight.

    If clocks jump over midnight, as in Cairo, Prefect starts a run of 00:30 at 23:30 of the day before. A
    jump over a whole day moves nothing.
    """
    midnight = datetime.combine(due.date() + timedelta(days=1), time(), due.tzinfo)
    after, before = midnight.replace(fold=1).utcoffset(), midnight.utcoffset()
    assert after is not None
    assert before is not None
    jump = max(after - before, timedelta()) % timedelta(days=1)
    return due.replace(tzinfo=None) + jump


def _day_before(day: date, zone: tzinfo | None) -> date:
    """Return the previous day of the zone's calendar: Samoa had no 30 December 2011."""
    begins = datetime.combine(day, time(), zone).astimezone(UTC)
    return (begins - timedelta.resolution).astimezone(zone).date()


def render_day(prefix: str, day: str, timezone: str, now: datetime) -> str:
    """Return the prefix with each {day} filled in as YYYY-MM-DD; days are those of resolve_day.

    Raises ValueError if the prefix needs a day and `day` is `any`.
    """
    if DAY not in prefix:
        return prefix
    if (resolved := resolve_day(day, timezone, now)) is None:
        raise ValueError(f"{prefix!r} has {DAY}, so the day cannot be 'any': use today, yesterday or a date")
    return prefix.replace(DAY, resolved.isoformat())


def modified_span(prefix: str, day: str, timezone: str, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the day from midnight to midnight in the zone, None if the prefix has the day or for `any`."""
    resolved = resolve_day(day, timezone, now)
    if DAY in prefix or resolved is None:
        return None
    midnight = datetime.combine(resolved, time(), ZoneInfo(timezone))
    return midnight, datetime.combine(resolved + timedelta(days=1), time(), ZoneInfo(timezone))
