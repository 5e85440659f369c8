"""Events as Audacity and players of WebVTT read them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from core.events.formats import audacity, webvtt
from db.events import HeardEvent

EVENTS = [HeardEvent("dog bark", 0.36, 1.8, 0.75), HeardEvent("R&B <loud>", 3661.0, 3661.25, 0.5)]


def test_a_label_track_has_start_end_and_label_between_tabs() -> None:
    assert audacity(EVENTS) == "0.360000\t1.800000\tdog bark\n3661.000000\t3661.250000\tR&B <loud>\n"


def test_a_cue_has_its_label_escaped() -> None:
    assert webvtt(EVENTS) == (
        "WEBVTT\n\n00:00:00.360 --> 00:00:01.800\ndog bark\n"
        "\n01:01:01.000 --> 01:01:01.250\nR&amp;B &lt;loud&gt;\n"
    )


@given(st.floats(0, 400_000), st.floats(0.001, 100))
def test_every_time_is_written_as_a_clock_to_the_millisecond(start: float, length: float) -> None:
    cue = webvtt([HeardEvent("a", start, start + length, 1.0)]).splitlines()[2]
    found = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> .*", cue)
    assert found
    hours, minutes, seconds, thousandths = map(int, found.groups())
    assert abs(hours * 3600 + minutes * 60 + seconds + thousandths / 1000 - start) <= 0.000501
