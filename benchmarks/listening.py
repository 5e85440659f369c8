"""Recorded digits, and who judges what was said: a recogniser of digits, Whisper and DNSMOS.

The recogniser is fitted to takes that are neither shown nor measured, as recorded and after the codec.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from benchmarks.audio_answers import Models
from benchmarks.held_out import held_out
from benchmarks.judges.dnsmos import Dnsmos
from benchmarks.judges.spoken_words import DigitRecogniser
from benchmarks.means import Mean, mean_of
from benchmarks.recorded import manifest, waveforms
from core.evaluation.whisper import Whisper
from core.evaluation.word_errors import words
from core.tokens.clip_codes import ClipCodes

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BLOCKS = 3


@dataclass(frozen=True, eq=False)
class Digit:
    """A recorded digit: (T,) at the codec's rate, and its codes, filled up with silence to BLOCKS.

    Those held out are shown and measured; the judge and the small LLaMA learned from the others.
    """

    text: str
    speaker: str
    held_out: bool
    waveform: Tensor
    codes: ClipCodes


@dataclass(frozen=True, eq=False)
class Said:
    """Clips, (T,) each, what each should say, and the number of the prompt or recording that it is from."""

    waveforms: list[Tensor] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)

    def add(self, waveform: Tensor, wanted: str, source: int) -> None:
        """Count one more clip."""
        self.waveforms.append(waveform)
        self.wanted.append(wanted)
        self.sources.append(source)


@dataclass(frozen=True)
class Heard:
    """The share of clips of a kind that are heard as they should be, and DNSMOS's mean overall opinion.

    `by_whisper` is the share that Whisper hears so, None without Whisper.
    """

    name: str
    right: Mean
    opinion: Mean | None
    by_whisper: Mean | None = None

    def __str__(self) -> str:
        opinion = "" if self.opinion is None else f"  DNSMOS {self.opinion.mean:.2f}"
        whisper = "" if self.by_whisper is None else f"  Whisper {self.by_whisper.percent}"
        return f"  {self.name:<34}{self.right.percent} ({self.right.clips} clips){whisper}{opinion}"


class Listener:
    """Hears digits."""

    def __init__(
        self, models: Models, digits: Sequence[Digit], dnsmos: Dnsmos | None, whisper: Whisper | None = None
    ) -> None:
        known = [digit for digit in digits if not digit.held_out]
        decoded = [models.decode(digit.codes.layers) for digit in known]
        texts = [digit.text for digit in known]
        self.judge = DigitRecogniser.fit([*(digit.waveform for digit in known), *decoded], [*texts, *texts])
        self._dnsmos, self._whisper = dnsmos, whisper

    def hear(self, name: str, said: Said, *, ask_whisper: bool = False) -> Heard:
        """Return how the clips of a kind are heard; Whisper takes a second for each, if it is asked."""
        hits = [a == b for a, b in zip(self.judge.recognize(said.waveforms), said.wanted, strict=True)]
        by_whisper = self._by_whisper(said) if ask_whisper else None
        return Heard(name, mean_of(hits, said.sources), self._opinion(said), by_whisper)

    def _by_whisper(self, said: Said) -> Mean | None:
        if self._whisper is None:
            return None
        heard = [words(self._whisper.transcript(one)) for one in said.waveforms]
        return mean_of([a == words(b) for a, b in zip(heard, said.wanted, strict=True)], said.sources)

    def _opinion(self, said: Said) -> Mean | None:
        if self._dnsmos is None:
            return None
        return mean_of([self._dnsmos.opinion(one).overall for one in said.waveforms], said.sources)


def recorded_digits(root: Path, models: Models) -> list[Digit]:
    """Return every digit of the set."""
    config, digits = models.codec.config, []
    for row, waveform in waveforms(root, manifest(root, "digits"), config.sample_rate):
        missing = max(0, BLOCKS * config.block_length - waveform.shape[-1])
        codes = models.encode(functional.pad(waveform, (0, missing)))
        digits.append(Digit(row["labels"]["text"], row["speaker"], held_out(row), waveform[0, 0], codes))
    return digits
