"""Speech rendered by the espeak-ng program, for training and the demo. Only used offline.

espeak-ng is not a dependency of the project: the nightly flows never use it.
"""

import shutil
import subprocess
from collections.abc import Iterator
from itertools import product

import numpy as np

from core.audio.resampling import resample_blocks
from core.training.data.families import SAMPLE_RATE, Samples

ACCENTS = (
    "en",
    "en-us",
    "en-us-nyc",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
"""Without en-gb, whose speakers all sound the same in espeak-ng 1.51; `en` is the same accent."""
SPEAKERS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")
VOICES = tuple(f"{accent}+{speaker}" for accent, speaker in product(ACCENTS, SPEAKERS))
"""English voices: an accent and a speaker, `en-us+f3`."""

_TIMEOUT = 60
_MAGIC, _HEADER, _RATE_AT = b"RIFF", 44, 24


def speak(text: str, *, voice: str = "en-us+m3", speed: int = 160, pitch: int = 50) -> Samples:
    """Speak a text at `speed` words per minute and a pitch of 0 to 99: (T,) float32 at 16 kHz, mono.

    Raises FileNotFoundError without espeak-ng, ValueError for a text or voice that it cannot speak.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise FileNotFoundError(
            "espeak-ng is not on the PATH: install the package espeak-ng (only making speech needs it)"
        )
    command = [program, "--stdout", "--stdin", "-v", voice, "-s", str(speed), "-p", str(pitch)]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=False)
    if done.returncode or len(done.stdout) <= _HEADER or not done.stdout.startswith(_MAGIC):
        reason = done.stderr.decode(errors="replace").strip() or "no samples"
        raise ValueError(
            f"espeak-ng cannot speak {text!r} as {voice!r}: {reason}; VOICES lists voices that it can"
        )
    return np.concatenate(list(_read(done.stdout)))


def _read(wav: bytes) -> Iterator[Samples]:
    """Yield blocks at 16 kHz. A streamed header has no true length, so all that follows it is samples."""
    source_rate = int.from_bytes(wav[_RATE_AT : _RATE_AT + 4], "little")
    samples = np.frombuffer(wav, dtype="<i2", offset=_HEADER, count=(len(wav) - _HEADER) // 2)
    yield from resample_blocks(iter([(samples / 32768).astype(np.float32)]), source_rate, SAMPLE_RATE)
