"""From noisy clips to clean ones: pairs of a library in the prompt, a clip's own codes as the question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import AudioRejected, PromptTooLong
from db.clips import ClipWithTokens, Selection, clips_with_tokens
from db.engine import session_scope
from db.libraries import LibraryDemonstration
from db.runs import RunClaim
from db.tokens import TokensOfContent, get_token_sequences
from flows.pipeline.generation.generate import (
    Answered,
    Asked,
    Generating,
    TextToAudio,
    loudest_start,
    loudness,
    window,
)
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.stored_codes import clip_codes, quarantine, readable_codes

if TYPE_CHECKING:
    from torch import Tensor

    from core.prompts.generation import Example
    from core.tokens.clip_codes import AudioCodes, ClipCodes
    from core.tokens.window import WindowCodes

STAGE = "denoise"
LONGEST_SECONDS = 300.0
"""An answer lies in memory as a whole while it is decoded: a gigabyte for so long a one."""

ROUNDING = 1e-6
"""Of a sample: more than a duration in seconds is off, and less than a part of a sample that counts."""


class Denoising(Generating):
    """Answers the noisy clips of a selection, each by its content."""

    def __init__(self, runtime: Runtime, request: AudioRequest) -> None:
        super().__init__(runtime, "denoise", request)
        self.demonstrated = {row.content_sha256 for row in self.library.demonstrations}

    def prepare(self, run: RunClaim) -> None:
        """As for texts; raises PromptTooLong where slices would not fit, so that no run fails half-way."""
        from core.in_context.audio_generator import AudioQuery

        super().prepare(run)
        if self.blocks:
            self.generator.check(AudioQuery(self._longest_slice(), self.blocks))

    def questions(self, selection: Selection) -> dict[str, Asked]:
        """By uri the selected clips with tokens, in uri order, also those that wait for a replay."""
        return {clip.uri: _asked(clip) for clip in self._clips(selection)}

    def batches(self, selection: Selection) -> list[Sequence[Asked]]:
        """What has no answer to this request and does not wait, cut in batches."""
        return self.undone(_asked(clip) for clip in self._clips(selection, STAGE))

    @property
    def demonstrated_question(self) -> Asked:
        contents = [row.content_sha256 for row in self.library.demonstrations]
        stored = self._tokens([Asked(content_sha256=content) for content in contents])
        return Asked(content_sha256=min(contents, key=lambda content: len(stored[content].levels)))

    def unusable(self, batch: Sequence[Asked]) -> dict[Asked, AudioRejected]:
        """What is too long to be asked, or was stored with numbers that are not finite."""
        stored = self._tokens(batch)
        asked, unreadable = readable_codes(stored)
        rejected = {Asked(content_sha256=content): why for content, why in unreadable.items()}
        for content, clip in asked.items():
            if why := self._why_not(clip, stored[content].duration):
                rejected[Asked(content_sha256=content)] = why
        return rejected

    def set_aside(self, session: Session, run_id: UUID, rejected: Mapping[Asked, AudioRejected]) -> Counts:
        """Quarantine the clips of these contents."""
        return quarantine(session, STAGE, run_id, {asked.content: why for asked, why in rejected.items()})

    def answer(self, batch: Sequence[Asked]) -> list[Answered]:
        stored = self._tokens(batch)
        return [self._answered(asked, stored[asked.content]) for asked in batch]

    def demonstrates(self, asked: Asked) -> bool:
        return asked.content_sha256 in self.demonstrated

    def question(self, asked: Asked) -> WindowCodes:
        return window(clip_codes(self._tokens([asked])[asked.content]), 0, self.blocks)

    def noisy(self, asked: Asked) -> AudioCodes:
        return self._tokens([asked])[asked.content].codes

    def _answered(self, asked: Asked, tokens: TokensOfContent) -> Answered:
        from core.evaluation.metrics import mel_distance
        from core.in_context.audio_generator import denoise

        seed = self.seed(asked)
        codes = denoise(self.generator, clip_codes(tokens), slice_blocks=self.blocks or None, seed=seed)
        waveform = self._cut(self.decode(codes, seed), tokens)
        noisy = self._cut(self.decode(tokens.codes, 0), tokens)
        changed = mel_distance(noisy, waveform, self.runtime.codec.config.sample_rate)
        return Answered(codes, waveform, loudness(waveform) | {"mel_distance_db": changed})

    def _cut(self, waveform: Tensor, tokens: TokensOfContent) -> Tensor:
        """As long as the clip is: its last block was filled up."""
        samples = tokens.duration * self.runtime.codec.config.sample_rate
        return waveform[: math.ceil(samples - ROUNDING)]

    def _why_not(self, clip: ClipCodes, duration: float) -> AudioRejected | None:
        from core.in_context.audio_generator import AudioQuery

        if duration > LONGEST_SECONDS:
            return AudioRejected(
                "too_long", f"{duration:.0f} s, at most {LONGEST_SECONDS:.0f} are denoised at once"
            )
        if self.blocks:
            return None
        try:
            self.generator.check(AudioQuery(window(clip, 0, 0), clip.num_blocks))
        except PromptTooLong as error:
            return AudioRejected("prompt_too_long", str(error))
        return None

    def _clips(self, selection: Selection, *stages: str) -> list[ClipWithTokens]:
        with session_scope(self.runtime.engine) as session:
            return clips_with_tokens(session, selection, self.runtime.codec_id, *stages)

    def _tokens(self, batch: Sequence[Asked]) -> dict[bytes, TokensOfContent]:
        contents = [asked.content for asked in batch]
        with session_scope(self.runtime.engine) as session:
            return get_token_sequences(session, self.runtime.codec_id, contents)

    def _longest_slice(self) -> WindowCodes:
        """A slice that takes as many token ids as one can."""
        import numpy as np

        from core.tokens.clip_codes import CODES_PER_BLOCK
        from core.tokens.window import WindowCodes

        vocabulary = self.llm.vocabulary
        longest = max(range(vocabulary.size(0)), key=lambda code: len(vocabulary.token_ids(0, [code])))
        lengths = [count * self.blocks for count in CODES_PER_BLOCK]
        codes = [
            np.full(length, code, np.int16) for length, code in zip(lengths, (longest, 0, 0), strict=True)
        ]
        return WindowCodes(*codes)

    def _example(self, row: LibraryDemonstration, codes: dict[bytes, ClipCodes]) -> Example:
        """The same window of both clips, where the clean one is loudest."""
        from core.prompts.generation import Example

        assert row.target_content_sha256 is not None
        noisy, clean = codes[row.content_sha256], codes[row.target_content_sha256]
        start = loudest_start(clean, self.blocks)
        return Example(window(noisy, start, self.blocks), window(clean, start, self.blocks))


def _asked(clip: ClipWithTokens) -> Asked:
    return Asked(content_sha256=clip.content_sha256)


def generating_of(runtime: Runtime, task: str, request: AudioRequest) -> Generating:
    """What answers a request of a task. Raises ValueError for a task that is not answered with audio."""
    match task:
        case "denoise":
            return Denoising(runtime, request)
        case "speech" | "sound":
            return TextToAudio(runtime, task, request)
    raise ValueError(f"{task} is not answered with audio: give speech, sound or denoise")
