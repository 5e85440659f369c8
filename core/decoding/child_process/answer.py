"""Validation of what a decoding child answers: hostile bytes may control it.

An answer is accepted only if every field has its type and is within the clip's limits, the samples are
finite, and the facts about the whole clip match the samples received.
"""

import math
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from core.decoding.audio_stream import AudioInfo, AudioLimits, Samples
from core.errors import AudioRejected, CoreError, ReasonCode

_CONFIG = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
_Text = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class InvalidAnswer(CoreError):
    """An answer that an honest decoding process does not give."""


class _Info(BaseModel):
    model_config = _CONFIG

    format: _Text
    sample_rate: int
    channels: int
    num_samples: int
    peak: float


class _Facts(BaseModel):
    model_config = _CONFIG

    sample_rate: int | None = None
    info: _Info | None = None
    rejected: tuple[ReasonCode, _Text] | None = None


class AnswerValidator:
    """Validator of the answers about one clip: pass each to `accept`; the last one sets `info`."""

    def __init__(self, limits: AudioLimits) -> None:
        self._limits = limits
        self._num_samples, self._peak = 0, 0.0
        self.sample_rate = 0
        self.info: AudioInfo | None = None

    def accept(self, encoded_facts: bytes, encoded_block: bytes | bytearray) -> Samples:
        """Return the block of an answer.

        Raises AudioRejected for a rejection, InvalidAnswer for invalid facts.
        """
        facts = _parse(encoded_facts)
        if facts.rejected and facts == _Facts(rejected=facts.rejected) and not encoded_block:
            raise AudioRejected(*facts.rejected)
        self._take_rate(facts)
        block = self._take_block(encoded_block)
        if facts.info:
            self._take_info(facts.info)
        return block

    def _take_rate(self, facts: _Facts) -> None:
        rate, limits = facts.sample_rate, self._limits
        _require(rate is not None and not facts.rejected, "it has no sample rate, or is half a rejection")
        assert rate is not None
        _require(limits.min_sample_rate <= rate <= limits.max_sample_rate, "its sample rate passes a limit")
        _require(self.sample_rate in (0, rate), "the sample rate changed")
        self.sample_rate = rate

    def _take_block(self, encoded: bytes | bytearray) -> Samples:
        _require(len(encoded) > 0 and len(encoded) % np.float32().itemsize == 0, "its block is cut")
        block: Samples = np.frombuffer(encoded, np.float32)
        peak = float(max(block.max(), -block.min()))
        _require(math.isfinite(peak), "a sample is NaN or infinite")
        self._peak = max(self._peak, peak)
        self._num_samples += len(block)
        longest = self._limits.max_duration * self.sample_rate
        _require(self._num_samples <= longest, "the clip is over the longest duration")
        return block

    def _take_info(self, info: _Info) -> None:
        counted = (self.sample_rate, self._num_samples, self._peak)
        claimed = (info.sample_rate, info.num_samples, info.peak)
        _require(claimed == counted, "its facts are not those of its samples")
        _require(1 <= info.channels <= self._limits.max_channels, "its channels pass a limit")
        self.info = AudioInfo(**info.model_dump())


def _parse(encoded: bytes) -> _Facts:
    try:
        return _Facts.model_validate_json(encoded)
    except ValidationError as error:
        # Neither what was sent nor the cause: it is the attacker's text.
        raise InvalidAnswer(f"{error.error_count()} of its facts are not valid") from None


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise InvalidAnswer(otherwise)
