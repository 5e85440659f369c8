"""Descriptions of the places that are labeled every night, printed when the service starts."""

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cronsim import CronSim, CronSimError

from flows.server.nights.places import next_times

if TYPE_CHECKING:
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse

    from flows.server.nights.places import NightlyPlace

NEXT_TIMES = 3
NO_SCHEDULE = "without a schedule: add one in the UI"


def describe_place(place: "DeploymentResponse") -> list[str]:
    """Return the place and its library, as in s3://calls/{day} by sounds, and a line for each schedule."""
    what = f"{place.parameters.get('prefix')} by {place.parameters.get('library')}"
    if place.paused:
        return [what, "paused until somebody resumes it in the UI"]
    return [what, *(map(describe_schedule, place.schedules) if place.schedules else [NO_SCHEDULE])]


def differences(night: "NightlyPlace", place: "DeploymentResponse") -> list[str]:
    """Return where the deployment of a place, which counts, differs from the command line."""
    differing = [
        f"{name} is {place.parameters.get(name)}, not {value}"
        for name, value in night.parameters.items()
        if place.parameters.get(name) != value
    ]
    if place.schedules and night.schedule not in [one.schedule for one in place.schedules]:
        differing.append(f"it is not scheduled for {night.at:%H:%M} in {night.timezone}")
    return differing


def describe_schedule(schedule: "DeploymentSchedule") -> str:
    """Return the times of a schedule: at 02:00 every day in Europe/Berlin; next Mon 2026-11-30 02:00, ..."""
    rule = schedule.schedule
    zone = getattr(rule, "timezone", None) or "UTC"
    words = f"{_rule(rule)} in {zone}"
    if not schedule.active:
        return f"{words}; paused until somebody resumes it in the UI"
    times = ", ".join(f"{time:%a %Y-%m-%d %H:%M}" for time in next_times(rule, NEXT_TIMES))
    return f"{words}; next {times or 'never'}"


def _rule(rule: Any) -> str:
    if cron := getattr(rule, "cron", None):
        with suppress(CronSimError):
            explained = CronSim(cron, datetime.now()).explain()
            return explained[:1].lower() + explained[1:]
        return f"by cron {cron}"
    return f"every {rule.interval}" if hasattr(rule, "interval") else f"by the rule {rule.rrule}"
