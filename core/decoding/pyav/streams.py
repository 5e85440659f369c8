"""The files that PyAV decodes, and the checks of their containers."""

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
"""Allowed difference to the container's duration, which includes the encoder's delay."""


@dataclass(frozen=True)
class AvStream(Stream):
    """The one audio stream of a file that PyAV decodes."""

    container: str = "mov"

    def open(self, descriptor: int) -> Sound:
        """Open the stream after checking its container.

        Raises AudioRejected, also when libav refuses the file.
        """
        _CHECKS[self.container](descriptor, self.end)
        return cast("Sound", AvSound(descriptor, self.container))  # it has what decoding asks of one

    def frames_until_stop(self, sound: Sound, position: int) -> int:
        """Return no limit: libav finds the end itself."""
        return sys.maxsize

    def check_end(self, sound: Sound, position: int) -> None:
        """Raise AudioRejected (`truncated`) when less was decoded than the container states."""
        missing = sound.claimed_seconds - position / sound.samplerate
        if missing > _MAX_MISSING_SECONDS:
            message = f"the container names {sound.claimed_seconds:.3f} s, {missing:.3f} s of it are missing"
            raise AudioRejected("truncated", message)


def av_streams(head: bytes, size: int) -> list[Stream]:
    """Return the stream of a file of `size` bytes that begins with `head`; none if libsndfile decodes it.

    Raises AudioRejected (`unsupported`) if PyAV is not installed.
    """
    container = _container(head)
    if container is None:
        return []
    if not find_av():
        message = f"{FORMATS[container]} needs PyAV, which is not installed: pip install 'wordwave[av]'"
        raise AudioRejected("unsupported", message)
    return [AvStream(0, size, container=container)]


def _container(head: bytes) -> str | None:
    """Return libav's name of the container with this beginning."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return None
