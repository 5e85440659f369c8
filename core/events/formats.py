"""Events as other programs read them: label tracks of Audacity, and WebVTT, the subtitles of players."""

from collections.abc import Iterable
from html import escape
from typing import Protocol


class Timed(Protocol):
    """An event with its times in seconds."""

    @property
    def label(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


def audacity(events: Iterable[Timed]) -> str:
    """Return a label track: start, end and label, separated by tabs, a line each."""
    return "".join(f"{one.start_s:.6f}\t{one.end_s:.6f}\t{one.label}\n" for one in events)


def webvtt(events: Iterable[Timed]) -> str:
    """Return a WebVTT file with a cue for each event."""
    cues = (f"\n{_clock(one.start_s)} --> {_clock(one.end_s)}\n{_text(one.label)}\n" for one in events)
    return "".join(["WEBVTT\n", *cues])


def _text(label: str) -> str:
    return escape(label, quote=False)


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
