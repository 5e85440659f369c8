"""Whoever starts the service reads what runs when, whatever kind its schedule is of."""

from datetime import time, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows.server.nights.place_words import describe_place, describe_schedule, differences
from flows.server.nights.places import NightlyPlace

NIGHT = NightlyPlace("s3://calls/{day}", "sounds", time(2), "Europe/Berlin")


def scheduled(rule: Any, *, active: bool = True) -> DeploymentSchedule:
    return DeploymentSchedule(schedule=rule, active=active)


def place(*schedules: DeploymentSchedule, paused: bool = False, **parameters: Any) -> Mock:
    return Mock(parameters=NIGHT.parameters | parameters, schedules=list(schedules), paused=paused)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (NIGHT.schedule, "at 02:00 every day in Europe/Berlin"),
        (CronSchedule(cron="30 23 * * 1-5"), "at 23:30 on Monday through Friday in UTC"),
        (IntervalSchedule(interval=timedelta(hours=6)), "every 6:00:00 in UTC"),
        (RRuleSchedule(rrule="FREQ=DAILY"), "by the rule FREQ=DAILY in UTC"),
    ],
)
def test_a_schedule_is_told_in_words_with_its_next_three_times(rule: Any, words: str) -> None:
    said, _, times = describe_schedule(scheduled(rule)).partition("; next ")
    assert said == words
    assert len(times.split(", ")) == 3


def test_what_is_paused_or_has_no_schedule_is_said_to_be_so() -> None:
    paused = scheduled(NIGHT.schedule, active=False)
    assert describe_schedule(paused).endswith("; paused until somebody resumes it in the UI")
    what = "s3://calls/{day} by sounds"
    assert describe_place(place(paused=True)) == [what, "paused until somebody resumes it in the UI"]
    assert describe_place(place()) == [what, "without a schedule: add one in the UI"]


def test_what_the_command_line_says_and_the_deployment_does_not_is_named() -> None:
    assert differences(NIGHT, place(scheduled(NIGHT.schedule))) == []
    own = CronSchedule(cron="0 4 * * *", timezone="Europe/Berlin")
    assert differences(NIGHT, place(scheduled(own), library="sounds@2")) == [
        "library is sounds@2, not sounds",
        "it is not scheduled for 02:00 in Europe/Berlin",
    ]
