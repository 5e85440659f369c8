"""Generation of audio, by a frozen LLM with a library in its prompt: an object and a row per answer."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import AudioRejected, PromptError
from db.engine import session_scope
from db.generated import (
    IN_CONTEXT,
    NewAudio,
    StoredAudio,
    existing_audio,
    get_audio,
    get_audio_codes,
    move_audio,
    save_audio,
)
from db.libraries import LibraryDemonstration, get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.clips.ingest import GENERATED
from flows.pipeline.clips.stored_codes import clip_codes
from flows.pipeline.clips.tokenize_clips import tokenize_uris
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.libraries.demonstrations import missing_uris, stored_tokens
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.fingerprints import work_key
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import add_audio, timed
from flows.pipeline.storage.damage import is_intact

if TYPE_CHECKING:
    from torch import Tensor

    from core.in_context.audio_generator import AudioGenerator
    from core.prompts.generation import Example, GenerationTask
    from core.tokens.clip_codes import AudioCodes, ClipCodes
    from core.tokens.window import WindowCodes
    from flows.pipeline.storage import Storage

TextTask = Literal["speech", "sound"]
BATCH_SIZE = 16
"""Answers of a batch: an answer takes about a second, a label a hundredth of one."""
QUIETEST_DB = -120.0
NOT_DECODING = {"library", "repeats"}
"""Fields of a request that stand in the key otherwise: the library's version, and the prompt's hash."""


@dataclass(frozen=True)
class TextQuestion:
    """A text to answer with audio."""

    text: str

    @property
    def key(self) -> str:
        """The question in the work key."""
        return self.text


@dataclass(frozen=True)
class ClipQuestion:
    """A noisy clip to clean, by its content."""

    content_sha256: bytes

    @property
    def key(self) -> str:
        """The question in the work key."""
        return self.content_sha256.hex()


Question = TextQuestion | ClipQuestion
Q = TypeVar("Q", TextQuestion, ClipQuestion)


@dataclass(frozen=True, eq=False)
class Answered:
    """Codes, what they decode to, (T,) at the codec's rate, and what can be measured of it."""

    codes: AudioCodes
    waveform: Tensor
    metrics: dict[str, float]


class Generation(ABC, Generic[Q]):
    """The library and the answers of a request for audio, by one method.

    Raises LibraryNotFound, and PromptError for a library of another task.
    """

    method: str
    """How the answers are made, as their rows name it."""

    def __init__(self, runtime: Runtime, task: GenerationTask, request: AudioRequest) -> None:
        self.runtime, self.task, self.request = runtime, task, request
        with session_scope(runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.library))
        self.library_name = f"{self.library.name}@{self.library.version}"
        if self.library.task != task:
            raise PromptError(f"library {self.library_name} is for {self.library.task}, not for {task}")

    @abstractmethod
    def prepare(self, run: RunClaim) -> None:
        """Do what all answers need, and raise here what no question could be answered after."""

    @abstractmethod
    def work_key(self, question: Q) -> bytes:
        """Return the key of the work on one answer: equal keys have equal answers."""

    @abstractmethod
    def answer_batch(self, batch: Sequence[Q], run: RunClaim) -> Counts:
        """Answer a batch: each object first, then all rows in one transaction; safe to repeat.

        Unusable questions, and those on which the models fail alone, are set aside.
        """

    @abstractmethod
    def restore_batch(self, batch: Sequence[Q], run: RunClaim) -> Counts:
        """Write the objects of answers again, as their rows say; safe to repeat.

        Another machine may compute other bits, which get another name; then the rows are updated.
        """

    @abstractmethod
    def set_aside(self, session: Session, run_id: UUID, rejected: Mapping[Q, AudioRejected]) -> Counts:
        """Record the questions that were not answered, and the reasons."""

    @abstractmethod
    def demonstrates(self, question: Q) -> bool:
        """Return whether the library demonstrates the question."""

    def undone(self, questions: Iterable[Q]) -> list[Sequence[Q]]:
        """Return batches of the questions without a standing answer to this request, each once."""
        keys = {self.work_key(one): one for one in questions}
        with session_scope(self.runtime.engine) as session:
            done = existing_audio(session, keys)
        return in_batches([one for key, one in keys.items() if key not in done])

    def lost(self, questions: Iterable[Q]) -> list[Sequence[Q]]:
        """Return batches of the questions with a standing answer whose object is missing or changed."""
        storage = self.runtime.storage(self.runtime.settings.storage_uri)

        def is_there(audio: StoredAudio) -> bool:
            return is_intact(storage, {audio.uri: audio.sha256})

        answers = self.audio(questions)
        found = zip(answers, self.runtime.downloads.map(is_there, answers.values()), strict=True)
        return in_batches([one for one, there in found if not there])

    def audio(self, questions: Iterable[Q]) -> dict[Q, StoredAudio]:
        """Return the standing answers to this request, in the order of the questions."""
        keys = {self.work_key(one): one for one in questions}
        with session_scope(self.runtime.engine) as session:
            found = get_audio(session, keys)
        return {one: found[key] for key, one in keys.items() if key in found}

    def object_key(self, work_key: bytes, sha256: str) -> str:
        """Name an object by its content too: other bits for the same work never replace what a row names."""
        return f"{GENERATED}/{work_key.hex()}-{sha256[:16]}.{self.request.format}"


class InContext(Generation[Q]):
    """Answers of a frozen LLM, with the library in its prompt.

    Raises PromptError where no LLM is set, beside what every generation raises.
    """

    method = IN_CONTEXT

    def __init__(self, runtime: Runtime, task: GenerationTask, request: AudioRequest) -> None:
        super().__init__(runtime, task, request)
        if runtime.audio_llm is None:
            raise PromptError("no LLM is set that answers with audio: set WORDWAVE_GENERATION_LLM")
        self.llm = runtime.audio_llm

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt, and tokenize demonstrations that have no tokens of this codec."""
        waiting = missing_uris(self.runtime, self.library, with_latent=False)
        tokenize_uris(self.runtime, waiting, run)
        _ = self.generator

    @cached_property
    def generator(self) -> AudioGenerator:
        """The LLM and its prompt. Raises PromptTooLong if the demonstrations alone exceed its context."""
        return self.generator_of(self.examples)

    def generator_of(self, examples: Sequence[Example]) -> AudioGenerator:
        """Return the LLM with a prompt of these examples."""
        from core.in_context.audio_generator import AudioGenerator, Decoding
        from core.prompts.generation import INSTRUCTIONS

        request = self.request
        return AudioGenerator(
            self.llm.llama,
            self.llm.vocabulary,
            self.task,
            examples,
            instruction=self.library.instruction or INSTRUCTIONS[self.task],
            repeats=request.repeats,
            decoding=Decoding(request.temperature, request.top_p),
        )

    @cached_property
    def examples(self) -> list[Example]:
        """The demonstrations of the prompt, in library order."""
        stored = stored_tokens(self.runtime, self.library, with_latent=False)
        codes = {content: clip_codes(tokens) for content, tokens in stored.items()}
        return [self._example(row, codes) for row in self.library.demonstrations]

    @cached_property
    def prompt_hash(self) -> str:
        """The hash of the prompt without the question."""
        return self.generator.prompt_hash

    @property
    def blocks(self) -> int:
        """The requested seconds as blocks of codes, at least one; 0 for none."""
        config, seconds = self.runtime.codec.config, self.request.seconds
        return max(1, round(seconds * config.sample_rate / config.block_length)) if seconds else 0

    def work_key(self, question: Q) -> bytes:
        decoding = {n: v for n, v in asdict(self.request).items() if n not in NOT_DECODING}
        parts = [
            question.key,
            self.runtime.codec.fingerprint,
            self.llm.fingerprint,
            self.library_name,
            self.prompt_hash,
            self.task,
            json.dumps(decoding | {"seconds": self.blocks}, sort_keys=True),
        ]
        return work_key(*parts)

    def seed(self, question: Q) -> int:
        """Return the seed of one answer, below 2**62, from the request's seed and the work key."""
        drawn = hashlib.sha256(b"%d " % self.request.seed + self.work_key(question)).digest()
        return int.from_bytes(drawn[:8]) >> 2

    def restore_batch(self, batch: Sequence[Q], run: RunClaim) -> Counts:
        """Write the objects of answers again, decoded from the codes of their rows."""
        storage = self.runtime.storage(self.runtime.settings.storage_uri)
        answers, codes = self.audio(batch), self.codes(batch)
        written = {}
        for one, audio in answers.items():
            data = self._file(self.decode_again(audio, codes[one]))
            written[audio.work_key] = storage.write(self._object_key(audio.work_key, data), data)
        with run_session(self.runtime, run) as session:
            move_audio(session, {key: (stored.uri, stored.sha256) for key, stored in written.items()})
        return Counts(restored=len(written))

    def decode_again(self, audio: StoredAudio, codes: AudioCodes) -> Tensor:
        """Return the waveform of a row's object, decoded from its codes."""
        length = round(audio.duration * self.runtime.codec.config.sample_rate)
        with self.runtime.device_lock():
            return self.decode(codes, audio.seed)[:length]

    def codes(self, questions: Iterable[Q]) -> dict[Q, AudioCodes]:
        """Return the codes of the standing answers, which take more memory than their rows."""
        keys = {self.work_key(one): one for one in questions}
        with session_scope(self.runtime.engine) as session:
            return {keys[key]: codes for key, codes in get_audio_codes(session, keys).items()}

    def answer_batch(self, batch: Sequence[Q], run: RunClaim) -> Counts:
        rejected = self.unusable(batch)
        accepted = [one for one in batch if one not in rejected]
        storage = self.runtime.storage(self.runtime.settings.storage_uri)
        answered = {}
        for one, outcome in zip(accepted, self.outcomes(accepted), strict=True):
            if isinstance(outcome, AudioRejected):
                rejected[one] = outcome
            else:
                answered[one] = outcome
        with timed("write"):
            rows = [self._stored(storage, one, outcome) for one, outcome in answered.items()]
            with run_session(self.runtime, run) as session:
                counts = Counts(generated=save_audio(session, run.writes_as, rows))
                counts += self.set_aside(session, run.writes_as, rejected)
        add_audio(sum(row.duration for row in rows))
        return counts

    def outcomes(self, batch: Sequence[Q]) -> list[Answered | AudioRejected]:
        """Compute the answers of a batch. A question that fails the models alone is rejected as `failed`."""
        step: ModelStep[Q, Answered] = ModelStep(
            self.task,
            lambda some: _finite(self.answer(some)),
            self.runtime.batch_limits,
            lambda: self.answer([self.demonstrated_question]),
        )
        with self.runtime.device_lock(), timed("generate"):
            return step.run(batch)

    @property
    @abstractmethod
    def demonstrated_question(self) -> Q:
        """A short question of the library itself, which the models must be able to answer."""

    @abstractmethod
    def unusable(self, batch: Sequence[Q]) -> dict[Q, AudioRejected]:
        """Return the rejections of unusable questions of a batch."""

    @abstractmethod
    def query(self, question: Q) -> str | WindowCodes:
        """Return the query of the prompt: the text, or the first slice of the clip."""

    @abstractmethod
    def noisy(self, question: Q) -> AudioCodes | None:
        """Return the codes of the question, None for a text."""

    @abstractmethod
    def answer(self, batch: Sequence[Q]) -> list[Answered]:
        """Compute the answers of a batch on the device."""

    @abstractmethod
    def _example(self, row: LibraryDemonstration, codes: dict[bytes, ClipCodes]) -> Example: ...

    def decode(self, codes: AudioCodes, seed: int) -> Tensor:
        """Decode codes to a waveform (T,) at the codec's rate, alone, so that nothing else changes a bit."""
        import torch

        layers = [torch.tensor([layer]) for layer in codes]
        waveform: Tensor = self.runtime.codec.decode(layers, seeds=[seed])[0, 0].cpu()
        return waveform

    def _stored(self, storage: Storage, question: Q, answer: Answered) -> NewAudio:
        """Write the object of an answer and return its row."""
        runtime, key = self.runtime, self.work_key(question)

        data = self._file(answer.waveform)
        stored = storage.write(self._object_key(key, data), data)
        semantic, acoustic1, acoustic2 = (list(map(int, layer)) for layer in answer.codes)
        return NewAudio(
            work_key=key,
            task=self.task,
            text=question.text if isinstance(question, TextQuestion) else None,
            content_sha256=question.content_sha256 if isinstance(question, ClipQuestion) else None,
            demonstration_set_id=self.library.id,
            codec_id=runtime.codec_id,
            llm_id=self.llm.id,
            semantic=semantic,
            acoustic1=acoustic1,
            acoustic2=acoustic2,
            duration=len(answer.waveform) / runtime.codec.config.sample_rate,
            uri=stored.uri,
            sha256=stored.sha256,
            metrics=answer.metrics,
            is_demonstration=self.demonstrates(question),
            provenance={"device": runtime.device, "prompt_hash": self.prompt_hash},
            seed=self.seed(question),
        )

    def _object_key(self, work_key: bytes, data: bytes) -> str:
        return self.object_key(work_key, hashlib.sha256(data).hexdigest())

    def _file(self, waveform: Tensor) -> bytes:
        from core.audio.resampling import flac_bytes, wav_bytes

        write = wav_bytes if self.request.format == "wav" else flac_bytes
        return write(waveform, self.runtime.codec.config.sample_rate)


def _finite(answers: Sequence[Answered]) -> Sequence[Answered]:
    """Raise ArithmeticError for audio that no file can hold."""
    for answer in answers:
        if not (answer.waveform.isfinite().all() and all(map(math.isfinite, answer.metrics.values()))):
            raise ArithmeticError("the answer decodes to samples that are not finite")
    return answers


def in_batches(questions: Sequence[Q]) -> list[Sequence[Q]]:
    """Cut questions into batches."""
    return batches_of(questions, BATCH_SIZE)


class TextToAudio(InContext[TextQuestion]):
    """Speech or sounds for texts."""

    def __init__(self, runtime: Runtime, task: TextTask, request: AudioRequest) -> None:
        super().__init__(runtime, task, request)
        self.texts = {row.label_or_text for row in self.library.demonstrations}
        self.failed: dict[TextQuestion, AudioRejected] = {}
        """Texts that this process could not answer; the next run asks them again."""

    @property
    def demonstrated_question(self) -> TextQuestion:
        return TextQuestion(min(self.texts, key=len))

    def unusable(self, batch: Sequence[TextQuestion]) -> dict[TextQuestion, AudioRejected]:
        return {}

    def set_aside(
        self, session: Session, run_id: UUID, rejected: Mapping[TextQuestion, AudioRejected]
    ) -> Counts:
        self.failed |= rejected
        return Counts(failed=len(rejected)) if rejected else Counts()

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt. Raises PromptTooLong if no demonstrated text fits, not line by line for a file."""
        super().prepare(run)
        self.check(self.demonstrated_question.text)

    def check(self, text: str) -> None:
        """Raise PromptError for a text that fits no prompt, PromptTooLong for one that is too long."""
        from core.in_context.audio_generator import AudioQuery

        self.generator.check(AudioQuery(text, self.blocks))

    def answer(self, batch: Sequence[TextQuestion]) -> list[Answered]:
        from core.in_context.audio_generator import AudioQuery

        queries = [AudioQuery(question.text, self.blocks, self.seed(question)) for question in batch]
        codes = self.generator.generate(queries)
        return [self._answered(question, answer) for question, answer in zip(batch, codes, strict=True)]

    def demonstrates(self, question: TextQuestion) -> bool:
        return question.text in self.texts

    def query(self, question: TextQuestion) -> str:
        return question.text

    def noisy(self, question: TextQuestion) -> None:
        return None

    def _answered(self, question: TextQuestion, codes: AudioCodes) -> Answered:
        waveform = self.decode(codes, self.seed(question))
        return Answered(codes, waveform, loudness(waveform) | self._likeness(question, codes))

    def _likeness(self, question: TextQuestion, codes: AudioCodes) -> dict[str, float]:
        """Return the likeness of the codes to those of the nearest demonstration of the same text, if any."""
        from core.in_context.baselines import similarities

        same = [example.answer for example in self.examples if example.request == question.text]
        clips = [as_clip(answer.layers) for answer in same]
        return {"likeness": float(similarities([as_clip(codes)], clips).max())} if clips else {}

    def _example(self, row: LibraryDemonstration, codes: dict[bytes, ClipCodes]) -> Example:
        from core.prompts.generation import Example

        clip = codes[row.content_sha256]
        return Example(row.label_or_text, window(clip, loudest_start(clip, self.blocks), self.blocks))


def loudest_start(clip: ClipCodes, blocks: int) -> int:
    """Return the semantic code at which the loudest stretch of `blocks` begins; 0 blocks mean the whole."""
    from core.tokens.clip_codes import CODES_PER_BLOCK
    from core.tokens.window import loudest_window

    return loudest_window(clip.levels, CODES_PER_BLOCK[0] * (blocks or clip.num_blocks))


def window(clip: ClipCodes, start: int, blocks: int) -> WindowCodes:
    """Return `blocks` of a clip from a semantic code on, fewer at its end; 0 blocks mean the whole."""
    from core.tokens.clip_codes import CODES_PER_BLOCK
    from core.tokens.window import cut_window

    return cut_window(clip, start, CODES_PER_BLOCK[0] * (blocks or clip.num_blocks))


def as_clip(layers: Iterable[Iterable[int]]) -> ClipCodes:
    """Return codes as a clip with zero levels."""
    import numpy as np

    from core.tokens.clip_codes import ClipCodes

    arrays = tuple(np.array(list(layer), np.int16) for layer in layers)
    return ClipCodes(arrays, np.zeros(len(arrays[0]), np.int16))


def loudness(waveform: Tensor) -> dict[str, float]:
    """Return the peak (1.0 is full scale) and the RMS level in dB."""
    power = float(waveform.double().square().mean())
    level = 10 * math.log10(power) if power else QUIETEST_DB
    return {"peak": float(waveform.abs().max()), "level_db": max(QUIETEST_DB, level)}
