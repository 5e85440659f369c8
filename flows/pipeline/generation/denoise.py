"""Denoising of clips: what all its methods have in common, and the answer in context."""

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
from flows.pipeline.clips.stored_codes import clip_codes, quarantine, readable_codes
from flows.pipeline.generation.generate import (
    Answered,
    ClipQuestion,
    Generation,
    InContext,
    loudest_start,
    loudness,
    window,
)
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from torch import Tensor

    from core.prompts.generation import Example
    from core.tokens.clip_codes import AudioCodes, ClipCodes
    from core.tokens.window import WindowCodes

STAGE = "denoise"
MAX_SECONDS = 300.0
"""The longest clip: a whole answer is in memory while it is decoded, a gigabyte at this length."""

ROUNDING_SAMPLES = 1e-6
"""More than the rounding error of a duration in seconds, less than a relevant part of a sample."""


class OfClips(Generation[ClipQuestion]):
    """Clean versions of the noisy clips of a selection, each by its content."""

    stage: str
    """Where clips are quarantined that this method cannot answer, which another one may."""

    def __init__(self, runtime: Runtime, request: AudioRequest) -> None:
        super().__init__(runtime, "denoise", request)
        self.demonstrated = {row.content_sha256 for row in self.library.demonstrations}

    def questions(self, selection: Selection) -> dict[str, ClipQuestion]:
        """Return the questions of the selected clips with tokens by uri, also those that wait for replay."""
        return {clip.uri: _question(clip) for clip in self._clips(selection)}

    def batches(self, selection: Selection) -> list[Sequence[ClipQuestion]]:
        """Return batches of questions that have no answer to this request and do not wait for replay."""
        return self.undone(_question(clip) for clip in self._clips(selection, self.stage))

    def set_aside(
        self, session: Session, run_id: UUID, rejected: Mapping[ClipQuestion, AudioRejected]
    ) -> Counts:
        """Quarantine the clips of these contents."""
        return quarantine(
            session, self.stage, run_id, {question.content_sha256: why for question, why in rejected.items()}
        )

    def demonstrates(self, question: ClipQuestion) -> bool:
        return question.content_sha256 in self.demonstrated

    def _clips(self, selection: Selection, *stages: str) -> list[ClipWithTokens]:
        with session_scope(self.runtime.engine) as session:
            return clips_with_tokens(session, selection, self.runtime.codec_id, *stages)


class Denoising(OfClips, InContext[ClipQuestion]):
    """Clips answered in context: pairs are in the prompt, and a clip's own codes are the question."""

    stage = STAGE

    def __init__(self, runtime: Runtime, request: AudioRequest) -> None:
        OfClips.__init__(self, runtime, request)

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt. Raises PromptTooLong if slices would not fit, so that no run fails halfway."""
        from core.in_context.audio_generator import AudioQuery

        super().prepare(run)
        if self.blocks:
            self.generator.check(AudioQuery(self._longest_slice(), self.blocks))

    @property
    def demonstrated_question(self) -> ClipQuestion:
        contents = [row.content_sha256 for row in self.library.demonstrations]
        stored = self._tokens([ClipQuestion(content) for content in contents])
        return ClipQuestion(min(contents, key=lambda content: len(stored[content].levels)))

    def unusable(self, batch: Sequence[ClipQuestion]) -> dict[ClipQuestion, AudioRejected]:
        """Return rejections of clips that are too long or whose stored latent is not finite."""
        stored = self._tokens(batch)
        codes, unreadable = readable_codes(stored)
        rejected = {ClipQuestion(content): why for content, why in unreadable.items()}
        for content, clip in codes.items():
            if why := self._why_not(clip, stored[content].duration):
                rejected[ClipQuestion(content)] = why
        return rejected

    def answer(self, batch: Sequence[ClipQuestion]) -> list[Answered]:
        stored = self._tokens(batch)
        return [self._answered(question, stored[question.content_sha256]) for question in batch]

    def query(self, question: ClipQuestion) -> WindowCodes:
        return window(clip_codes(self._tokens([question])[question.content_sha256]), 0, self.blocks)

    def noisy(self, question: ClipQuestion) -> AudioCodes:
        return self._tokens([question])[question.content_sha256].codes

    def answer_without(self, row: LibraryDemonstration, seconds: float) -> Tensor:
        """Return the answer to the beginning of a pair's noisy clip, with a prompt of the other pairs.

        It is at the codec's rate. Raises PromptError where no other pair is left, or the prompt is too long.
        """
        from core.in_context.audio_generator import denoise

        config, tokens = self.runtime.codec.config, self._tokens([ClipQuestion(row.content_sha256)])
        own = set(row.contents.values())
        shown = zip(self.library.demonstrations, self.examples, strict=True)
        examples = [example for other, example in shown if own.isdisjoint(other.contents.values())]
        clip = clip_codes(tokens[row.content_sha256])
        begun = first_blocks(clip, math.ceil(seconds * config.sample_rate / config.block_length))
        codes = denoise(
            self.generator_of(examples), begun, slice_blocks=self.blocks or None, seed=self.request.seed
        )
        return self.decode(codes, self.request.seed)

    def _answered(self, question: ClipQuestion, tokens: TokensOfContent) -> Answered:
        from core.evaluation.metrics import mel_distance
        from core.in_context.audio_generator import denoise

        seed = self.seed(question)
        codes = denoise(self.generator, clip_codes(tokens), slice_blocks=self.blocks or None, seed=seed)
        waveform = self._cut(self.decode(codes, seed), tokens)
        noisy = self._cut(self.decode(tokens.codes, 0), tokens)
        changed = mel_distance(noisy, waveform, self.runtime.codec.config.sample_rate)
        return Answered(codes, waveform, loudness(waveform) | {"mel_distance_db": changed})

    def _cut(self, waveform: Tensor, tokens: TokensOfContent) -> Tensor:
        """Cut the padding of the last block."""
        samples = tokens.duration * self.runtime.codec.config.sample_rate
        return waveform[: math.ceil(samples - ROUNDING_SAMPLES)]

    def _why_not(self, clip: ClipCodes, duration: float) -> AudioRejected | None:
        from core.in_context.audio_generator import AudioQuery

        if duration > MAX_SECONDS:
            return AudioRejected(
                "too_long", f"{duration:.0f} s, at most {MAX_SECONDS:.0f} are denoised at once"
            )
        if self.blocks:
            return None
        try:
            self.generator.check(AudioQuery(window(clip, 0, 0), clip.num_blocks))
        except PromptTooLong as error:
            return AudioRejected("prompt_too_long", str(error))
        return None

    def _tokens(self, batch: Sequence[ClipQuestion]) -> dict[bytes, TokensOfContent]:
        contents = [question.content_sha256 for question in batch]
        with session_scope(self.runtime.engine) as session:
            return get_token_sequences(session, self.runtime.codec_id, contents)

    def _longest_slice(self) -> WindowCodes:
        """Return a slice with the largest possible number of token ids."""
        import numpy as np

        from core.tokens.clip_codes import CODES_PER_BLOCK
        from core.tokens.window import WindowCodes

        vocabulary = self.llm.vocabulary
        longest = max(range(vocabulary.size(0)), key=lambda code: len(vocabulary.token_ids(0, [code])))
        lengths = [count * self.blocks for count in CODES_PER_BLOCK]
        codes = [
            np.full(length, code, np.int16) for length, code in zip(lengths, (longest, 0, 0), strict=True)
        ]
        return WindowCodes(tuple(codes))

    def _example(self, row: LibraryDemonstration, codes: dict[bytes, ClipCodes]) -> Example:
        """Return the window of both clips in which the clean one is loudest."""
        from core.prompts.generation import Example

        assert row.target_content_sha256 is not None
        noisy, clean = codes[row.content_sha256], codes[row.target_content_sha256]
        start = loudest_start(clean, self.blocks)
        return Example(window(noisy, start, self.blocks), window(clean, start, self.blocks))


def first_blocks(clip: ClipCodes, blocks: int) -> ClipCodes:
    """Return the beginning of a clip, at most so many blocks of codes."""
    from core.tokens.clip_codes import CODES_PER_BLOCK, ClipCodes

    pairs = zip(clip.layers, CODES_PER_BLOCK, strict=True)
    layers = tuple(layer[: blocks * count] for layer, count in pairs)
    return ClipCodes(layers, clip.levels[: len(layers[0])])


def _question(clip: ClipWithTokens) -> ClipQuestion:
    return ClipQuestion(clip.content_sha256)
