"""Which files PyAV decodes, and what they promise: their containers name sizes, and some a duration."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from core.decoding.pyav.adts import check_frames
from core.decoding.pyav.boxes import check_boxes
from core.decoding.pyav.ebml import check_elements
from core.decoding.pyav.sound import FORMATS, AvSound, find_av
from core.decoding.stream import Sound, Stream
from core.errors import AudioRejected

_CHECKS: dict[str, Callable[[int, int], None]] = {
    "mov": check_boxes,
    "matroska": check_elements,
    "aac": check_frames,
}
_MAX_MISSING_SECONDS = 0.25
"""How far audio may fall short of the duration of its container, which counts the encoder's delay too."""


@dataclass(frozen=True)
class AvStream(Stream):
    """The one audio stream of a file that PyAV decodes."""

    container: str = "mov"

    def open(self, descriptor: int) -> Sound:
        """Open it for reading, its container being whole; raises AudioRejected where libav refuses it."""
        _CHECKS[self.container](descriptor, self.end)
        return cast("Sound", AvSound(descriptor, self.container))  # it has what decoding asks of one

    def frames_until_stop(self, sound: Sound, position: int) -> int:
        """Return that as many may be asked for as are wanted: libav knows where the end is."""
        return sys.maxsize

    def check_end(self, sound: Sound, position: int) -> None:
        """Raise AudioRejected (`truncated`) where less was decoded than the container says."""
        missing = sound.claimed_seconds - position / sound.samplerate
        if missing > _MAX_MISSING_SECONDS:
            message = f"the container names {sound.claimed_seconds:.3f} s, {missing:.3f} s of it are missing"
            raise AudioRejected("truncated", message)


def av_streams(head: bytes, size: int) -> list[Stream]:
    """Return the stream of a file of `size` bytes that begins with `head`, none of a file for libsndfile.

    Raises AudioRejected (`unsupported`) where PyAV is not installed.
    """
    container = _container(head)
    if container is None:
        return []
    if not find_av():
        message = f"{FORMATS[container]} needs PyAV, which is not installed: pip install 'wordwave[av]'"
        raise AudioRejected("unsupported", message)
    return [AvStream(0, size, container=container)]


def _container(head: bytes) -> str | None:
    """Return libav's name of the container that begins so."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return None
