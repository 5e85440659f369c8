"""The promises of decoding, asked of one file at a time through the real child process."""

import math
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.decoding.audio_stream import AudioInfo, AudioLimits, Samples
from core.decoding.child_process.decoder import ClipDecoder
from core.errors import AudioRejected
from tests.fuzz.mutations import Mutant

SECONDS = 10.0
"""No file here takes a tenth of it on a busy machine."""
CHILD_MIB = 256
LIMITS = AudioLimits(decode_timeout=SECONDS, stall_timeout=SECONDS)
CRASH = "the decoding process crashed"


@dataclass
class Tally:
    """What came of all files: how many were decoded, refused by reason, and what broke a promise."""

    decoded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    unbounded: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    child_mib: float = 0.0

    @property
    def broken(self) -> list[str]:
        """Every broken promise, one line each."""
        kinds = {"crash": self.crashes, "unbounded": self.unbounded, "wrong": self.wrong}
        return [f"{kind}: {what}" for kind, found in kinds.items() for what in found]

    def summary(self) -> str:
        """Return the line that says it all."""
        files = self.decoded + self.refused.total()
        return (
            f"{files} files: {self.decoded} decoded, refused {dict(self.refused.most_common())}; "
            f"crashes {len(self.crashes)}, unbounded {len(self.unbounded)}, wrong {len(self.wrong)}; "
            f"longest {self.longest:.2f} s, child {self.child_mib:.0f} MiB"
        )


class Judge:
    """Decodes mutants in one child and holds what comes back against what was promised."""

    def __init__(self, decoder: ClipDecoder, tally: Tally) -> None:
        self._decoder, self._tally = decoder, tally

    def judge(self, mutant: Mutant) -> None:
        """Decode one file; whatever happens is counted and nothing is raised."""
        started = time.monotonic()
        try:
            self._decode(mutant)
        except AudioRejected as rejected:
            self._refused(mutant, rejected)
        except Exception as error:
            self._tally.crashes.append(f"{mutant.name}: {type(error).__name__}: {error}")
        self._bound(mutant, time.monotonic() - started)

    def _decode(self, mutant: Mutant) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(mutant.data)
            file.flush()
            stream = self._decoder.open(file.name)
            blocks = list(stream)
        self._tally.decoded += 1
        self._tally.wrong += [f"{mutant.name}: {wrong}" for wrong in wrongs(mutant, blocks, stream.info)]

    def _refused(self, mutant: Mutant, rejected: AudioRejected) -> None:
        self._tally.refused[rejected.reason] += 1
        if CRASH in rejected.message:
            self._tally.crashes.append(f"{mutant.name}: {rejected}")
        if rejected.reason == "timeout":
            self._tally.unbounded.append(f"{mutant.name}: {rejected}")

    def _bound(self, mutant: Mutant, seconds: float) -> None:
        tally = self._tally
        tally.longest, mib = max(tally.longest, seconds), peak_mib(self._decoder.pid)
        tally.child_mib = max(tally.child_mib, mib)
        if mib > CHILD_MIB:
            tally.unbounded.append(f"{mutant.name}: the child has {mib:.0f} MiB, the limit is {CHILD_MIB}")
            self._decoder.close()


def wrongs(mutant: Mutant, blocks: list[Samples], info: AudioInfo) -> list[str]:
    """Return which promises an accepted file breaks."""
    counted, found = sum(map(len, blocks)), []
    if counted != info.num_samples:
        found.append(f"{counted} samples came, {info.num_samples} were counted")
    if not all(np.isfinite(block).all() for block in blocks) or not math.isfinite(info.peak):
        found.append("a sample is not finite")
    seed = mutant.seed
    if mutant.is_cut and seed.promises and counted < seed.frames:
        found.append(f"{counted} of {seed.frames} samples taken as the whole")
    if mutant.copies and abs(counted - mutant.copies * seed.frames) > mutant.copies * seed.slack:
        found.append(f"{counted} samples of {mutant.copies} files with {seed.frames} each")
    return found


def peak_mib(pid: int | None) -> float:
    """Return the most memory that a process has had; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(peak[1]) / 1024 if peak else 0.0
