"""Each day of a zone's calendar is done once, by the night that is scheduled for the day after it."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from flows.pipeline.runs.days import modified_span, resolve_day
from flows.server.nights.places import NightlyPlace

YEARS = range(2026, 2067)
TIMES = [time(0), time(0, 30), time(0, 59), time(2), time(2, 30), time(12), time(23), time(23, 30)]
OVER_MIDNIGHT = ["Africa/Cairo", "Asia/Beirut", "America/Santiago", "America/Havana", "Atlantic/Azores"]
ZONES = sorted(available_timezones() - {"localtime"})


def scheduled(day: date, at: time, zone: str) -> datetime:
    """When Prefect starts the run of a day: a time that clocks jump over is read as after the jump."""
    wall = datetime.combine(day, at, ZoneInfo(zone))
    before, after = wall.utcoffset(), wall.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    return wall.replace(fold=int(after > before)).astimezone(UTC)


def done_by(day: date, at: time, zone: str) -> date | None:
    """The day that the night of a day labels."""
    night = NightlyPlace("s3://calls/{day}", "sounds", at, zone).parameters
    return resolve_day(night["day"], zone, scheduled(day, at, zone))


@cache
def changes(zone: str, first: int, last: int) -> list[date]:
    """The days of these years, of a sample a week, before which the zone's offset changed."""
    info, day, found = ZoneInfo(zone), datetime(first, 1, 1, 12), []
    while day.year <= last:
        after = day + timedelta(days=7)
        if day.replace(tzinfo=info).utcoffset() != after.replace(tzinfo=info).utcoffset():
            found.append(_change(day, info))
        day = after
    return found


def _change(day: datetime, zone: ZoneInfo) -> date:
    offset = day.replace(tzinfo=zone).utcoffset()
    while day.replace(tzinfo=zone).utcoffset() == offset:
        day += timedelta(days=1)
    return day.date()


def around(zone: str, first: int, last: int) -> Iterator[date]:
    """The days around each change of the clocks."""
    for change in changes(zone, first, last):
        yield from (change + timedelta(days=number) for number in (-1, 0, 1, 2))


def check_zone(zone: str, days: Iterator[date], times: list[time]) -> None:
    for day in days:
        for at in times:
            assert done_by(day, at, zone) == day - timedelta(days=1), (zone, day, at)


@pytest.mark.parametrize("seed", [1])
def test_each_day_of_every_zone_is_done_once(seed: int) -> None:
    rng = random.Random(seed)
    for zone in ZONES:
        first = rng.choice(YEARS[:-1])
        check_zone(zone, around(zone, first, first + 1), TIMES)
        days = (date(rng.choice(YEARS), rng.randint(1, 12), rng.randint(1, 28)) for _ in range(5))
        check_zone(zone, days, TIMES)


@pytest.mark.parametrize("zone", OVER_MIDNIGHT)
def test_each_day_of_zones_whose_clocks_jump_over_midnight_is_done_once(zone: str) -> None:
    assert changes(zone, YEARS[0], YEARS[-1])
    check_zone(zone, around(zone, YEARS[0], YEARS[-1]), TIMES)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_each_day_of_forty_years_is_done_once(zone: str) -> None:
    check_zone(
        zone, around(zone, YEARS[0], YEARS[-1]), [time(hour, half) for hour in range(24) for half in (0, 30)]
    )


@pytest.mark.parametrize("zone", [*OVER_MIDNIGHT, "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_prefect_starts_runs_when_it_is_said_here(zone: str) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    first, *_ = changes(zone, 2027, 2027)
    days = [first + timedelta(days=number) for number in range(-1, 3)]
    for at in TIMES:
        cron = CronSchedule(cron=f"{at.minute} {at.hour} * * *", timezone=zone)
        start = datetime.combine(days[0], time(), ZoneInfo(zone)).astimezone(UTC)
        starts = list(cron._get_dates_generator(n=len(days), start=start))
        assert [one.astimezone(UTC) for one in starts] == [scheduled(day, at, zone) for day in days]


@pytest.mark.parametrize("zone", ["Pacific/Apia", "Pacific/Kwajalein"])
def test_a_day_that_the_calendar_does_not_have_is_passed_over(zone: str) -> None:
    gone = {"Pacific/Apia": date(2011, 12, 30), "Pacific/Kwajalein": date(1993, 8, 21)}[zone]
    near = [gone + timedelta(days=number) for number in range(-2, 4)]
    starts = sorted({scheduled(day, time(2), zone) for day in near})
    done = [resolve_day("yesterday", zone, start) for start in starts]
    assert done == [day - timedelta(days=1) for day in near[:2]] + [near[1]] + near[3:5]


def test_a_run_by_hand_means_the_day_in_which_it_starts() -> None:
    due = datetime(2027, 4, 29, 15, tzinfo=UTC)
    for day in ("today", "today@00:30", "today@23:30"):
        assert resolve_day(day, "Africa/Cairo", due) == date(2027, 4, 29)
    assert resolve_day("yesterday@23:30", "Africa/Cairo", due) == date(2027, 4, 28)


def test_the_days_of_clips_follow_each_other_without_a_gap_around_each_change() -> None:
    for zone in (*OVER_MIDNIGHT, "Europe/Berlin"):
        for day in around(zone, 2027, 2030):
            now = datetime(2027, 1, 1, tzinfo=UTC)
            first = modified_span("s3://calls", day.isoformat(), zone, now)
            second = modified_span("s3://calls", (day + timedelta(days=1)).isoformat(), zone, now)
            assert first
            assert second
            assert first[1].astimezone(UTC) == second[0].astimezone(UTC)
