"""The record of a generation run for people: a page with its answers, and the refused lines.

Equal answers are never written twice to one place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from db.engine import session_scope
from db.exports import Export, begin_export, complete_export, find_export
from db.generated import StoredAudio
from flows.pipeline.generation.filtering import Filtering
from flows.pipeline.generation.generate import ClipQuestion, Generation, InContext, Question
from flows.pipeline.generation.measures.hearing import HEARD
from flows.pipeline.generation.methods import UNCHANGED, MethodChoice
from flows.pipeline.generation.page.stored import PageContent, StoredItems
from flows.pipeline.generation.texts import Refused, refused_lines
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, run_session
from flows.pipeline.storage.damage import is_intact
from flows.pipeline.storage.uris import canonical

if TYPE_CHECKING:
    from torch import Tensor

    from core.tokens.clip_codes import AudioCodes
    from core.tokens.window import WindowCodes
    from flows.pipeline.generation.page.page import Item, Words

PAGE, REFUSED = "generated.html", "refused.jsonl"
PAGE_VERSION = 1
MAX_ITEMS = 50
"""Answers, and demonstrations, on a page."""
MAX_EXCERPT_SECONDS = 15.0
"""The part of a longer clip that is decoded for the page, which plays no more."""
MAX_REFUSED_LINES = 5
"""Refused lines in a note of the page."""
ABOUT = {
    "level_db": "level_db: the RMS level, 0 is full scale.",
    "heard": "heard, heard_by: what the judge of speech wrote down, and which judge.",
    "likeness": "likeness: of the codes with those of the nearest demonstration of the same text, 0 to 1.",
    "mel_distance_db": "mel_distance_db: how far the answer is from the noisy clip, the mean over mel bands: "
    "how much was changed, not how well.",
    "noisy_level_db": "noisy_level_db: the RMS level of the noisy clip.",
    "word_error_rate": "word_error_rate: words heard wrong, over the words of the text.",
}


@dataclass(frozen=True)
class AudioAnswer:
    """The outcome of a question; `name` is the text, or the clip's uri."""

    question: Question | None
    name: str
    status: Literal["generated", "quarantined", "failed", "pending"]
    audio: StoredAudio | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Record:
    """The answers of a run, in the order of their questions, and the refused lines.

    `choice` is the method that was chosen, None where it was asked for. `remark` says what was asked for and
    could not be done.
    """

    generation: Generation[Any]
    answers: Sequence[AudioAnswer]
    refused: Sequence[Refused] = ()
    choice: MethodChoice | None = None
    remark: str | None = None

    @property
    def with_audio(self) -> list[tuple[Question, AudioAnswer, StoredAudio]]:
        """The answers with audio."""
        return [(one.question, one, one.audio) for one in self.answers if one.question and one.audio]

    @property
    def words(self) -> dict[str, str]:
        """What the judge heard in the answers, by text."""
        return {one.name: audio.metrics[HEARD] for _, one, audio in self.with_audio if HEARD in audio.metrics}

    @property
    def key(self) -> bytes:
        """The key of the page, made of its place, its content and the version of its format."""
        generation = self.generation
        outcomes = [
            [one.name, one.status, one.reason, one.audio and one.audio.work_key.hex()] for one in self.answers
        ]
        where = [PAGE_VERSION, generation.runtime.settings.storage_uri, generation.library_name]
        parts: list[object] = ["generated", *where, outcomes, [asdict(one) for one in self.refused]]
        if isinstance(self.generation, Filtering):  # in context, a page is the same whoever chose that
            parts.append(self.choice and self.choice.reason)
        # pages from before there was a judge stay the same
        parts += [self.words] if self.words else []
        parts += [self.remark] if self.remark else []
        return hashlib.sha256(json.dumps(parts).encode()).digest()


def keep_page(record: Record, run: OpenRun) -> Counts:
    """Write the refused lines, then the page, and set `run.manifest` to the page.

    If a page of an earlier run has the same answers, that is used. Its files are written again if they are
    missing or changed.
    """
    runtime, key = record.generation.runtime, record.key
    storage = runtime.storage(runtime.settings.storage_uri)
    with session_scope(runtime.engine) as session:
        done = find_export(session, key)
    if done is not None and done.is_complete and is_intact(storage, done.digests):
        run.manifest = done.uri
        return Counts(pages=0, unchanged_pages=1)
    uri = f"{canonical(runtime.settings.storage_uri)}/runs/{run.id}/{PAGE}"
    with run_session(runtime, run.claim) as session:
        begun = begin_export(session, Export(key, run.id, uri, len(record.answers)))
    files = {REFUSED: refused_lines(record.refused)} if record.refused else {}
    files[PAGE] = _html(record, begun.run_id)
    stored = {name: storage.write(f"runs/{begun.run_id}/{name}", data) for name, data in files.items()}
    with run_session(runtime, run.claim) as session:
        complete_export(session, key, {name: file.sha256.hex() for name, file in stored.items()})
    run.manifest = begun.uri
    return Counts(pages=1)


def _html(record: Record, run_id: UUID) -> bytes:
    from flows.pipeline.generation.page.page import Page, render_page

    generation = record.generation
    content = _by_codes(record, generation) if isinstance(generation, InContext) else _by_audio(record)
    page = Page(
        title=f"{generation.task} by {generation.library_name}",
        task=generation.task,
        notes=tuple(_notes(record, run_id, len(content.demonstrations))),
        **vars(content),
    )
    return render_page(page).encode()


def _by_audio(record: Record) -> PageContent:
    """Read the first answers, and the clips that they answer, from where they are."""
    generation, with_audio = record.generation, record.with_audio[:MAX_ITEMS]
    answered = [(answer.name, _content(question), audio) for question, answer, audio in with_audio]
    with closing(_stored_items(generation)) as items:
        return PageContent("", tuple(items.pairs(MAX_ITEMS)), tuple(items.answers(answered)))


def _stored_items(generation: Generation[Any]) -> StoredItems:
    return StoredItems(generation.runtime, generation.library, generation.method, MAX_EXCERPT_SECONDS)


def _by_codes(record: Record, generation: InContext[Any]) -> PageContent:
    """Decode the codes of the first answers and of what was in the prompt."""
    with_audio = record.with_audio
    codes = generation.codes(question for question, _, _ in with_audio[:MAX_ITEMS])
    stored = _stored_items(generation)
    others = stored.others({_content(question) for question, _, _ in with_audio[:MAX_ITEMS]})
    with generation.runtime.device_lock():
        return PageContent(
            prompt_text=_prompt(generation, with_audio[0][0] if with_audio else None),
            demonstrations=tuple(_demonstrations(generation, stored)),
            answers=tuple(
                replace(
                    _item(generation, question, answer, audio, codes[question]),
                    further=others.get(_content(question), ()),
                )
                for question, answer, audio in with_audio[:MAX_ITEMS]
            ),
            aligned=_aligned(generation, with_audio[0][0], codes[with_audio[0][0]]) if with_audio else None,
        )


def _content(question: Question) -> bytes:
    return question.content_sha256 if isinstance(question, ClipQuestion) else b""


def _prompt(generation: InContext[Any], question: Question | None) -> str:
    """Return the prompt of the first answer as the LLM reads it."""
    from core.prompts.generation import GenerationTemplate

    vocabulary = generation.llm.vocabulary
    template = GenerationTemplate(vocabulary, generation.task)
    query_ids = template.query_ids(generation.query(question)) if question else []
    return vocabulary.tokenizer.decode([*generation.generator.prefix_ids, *query_ids])


def _demonstrations(generation: InContext[Any], stored: StoredItems) -> Iterator[Item]:
    from flows.pipeline.generation.page.page import Item

    rows = zip(generation.library.demonstrations, generation.examples, strict=True)
    for row, example in islice(rows, MAX_ITEMS):
        request = example.request
        noisy = None if isinstance(request, str) else _wav(generation, generation.decode(_codes(request), 0))
        answer = generation.decode(_codes(example.answer), 0)
        metrics = {} if noisy is None else stored.metrics(row.content_sha256)
        yield Item(row.label or row.uri, _wav(generation, answer), metrics, noisy)


def _item(
    generation: InContext[Any],
    question: Question,
    answer: AudioAnswer,
    audio: StoredAudio,
    codes: AudioCodes,
) -> Item:
    """Return an answer with the audio of its object, decoded again from the row.

    The beginning of a longer clip is decoded alone, with other noise than in the whole.
    """
    from flows.pipeline.generation.page.page import Item

    length = round(audio.duration * generation.runtime.codec.config.sample_rate)
    codes_of_noisy = generation.noisy(question)
    noisy = None if codes_of_noisy is None else _excerpt(generation, codes_of_noisy, 0, length)
    excerpt = _excerpt(generation, codes, audio.seed, length)
    return Item(answer.name, excerpt, audio.metrics, noisy, seconds=audio.duration)


def _excerpt(generation: InContext[Any], codes: AudioCodes, seed: int, length: int) -> bytes:
    """Return the beginning of the decoded codes, at most `length` samples, as a wav file."""
    from core.tokens.clip_codes import CODES_PER_BLOCK

    config = generation.runtime.codec.config
    blocks = math.ceil(MAX_EXCERPT_SECONDS * config.sample_rate / config.block_length)
    semantic, acoustic1, acoustic2 = (
        layer[: blocks * count] for layer, count in zip(codes, CODES_PER_BLOCK, strict=True)
    )
    return _wav(generation, generation.decode((semantic, acoustic1, acoustic2), seed)[:length])


def _wav(generation: InContext[Any], waveform: Tensor) -> bytes:
    from core.audio.resampling import wav_bytes

    return wav_bytes(waveform, generation.runtime.codec.config.sample_rate)


def _codes(window: WindowCodes) -> AudioCodes:
    semantic, acoustic1, acoustic2 = (tuple(layer.tolist()) for layer in window.layers)
    return semantic, acoustic1, acoustic2


def _aligned(generation: InContext[Any], question: Question, codes: AudioCodes) -> tuple[Words, Words] | None:
    """Return the words of the first answer and those of the noisy clip or of a demonstration of its text."""
    query = generation.query(question)
    if isinstance(query, str):
        examples = [example.answer for example in generation.examples if example.request == query]
        if not examples:
            return None
        other = f"shown: {query}", _words(generation, examples[0].semantic.tolist())
    else:
        other = "the noisy clip", _words(generation, query.semantic.tolist())
    return other, ("the answer", _words(generation, codes[0][: len(other[1])]))


def _words(generation: InContext[Any], codes: Sequence[int]) -> tuple[str, ...]:
    return tuple(generation.runtime.codec.words[code] for code in codes)


def _notes(record: Record, run_id: UUID, demonstrations: int) -> Iterator[str]:
    generation = record.generation
    yield f"Run {run_id}: {_how(generation)}"
    if record.remark:
        yield f"{record.remark[0].upper()}{record.remark[1:]}."
    if record.choice:
        yield f"The method was chosen: {record.choice.reason}."
    if generation.task == "denoise":
        yield _what_noisy_is(generation)
    measured = {name for _, _, audio in record.with_audio for name in audio.metrics}
    yield from (meaning for name, meaning in ABOUT.items() if name in measured)
    if (more := len(record.with_audio) - MAX_ITEMS) > 0:
        yield f"{more} more answers are in analytics.generated; here are the first {MAX_ITEMS}."
    yield from _left_out(generation, demonstrations)
    yield from _set_aside(record)


def _how(generation: Generation[Any]) -> str:
    """Return what made the answers."""
    if isinstance(generation, Filtering):
        denoiser = generation.denoiser
        terms = f", license {denoiser.license}" if denoiser.license else ""
        return f"method {denoiser.name}, fingerprint {denoiser.fingerprint[:12]}{terms}"
    settings, request = generation.runtime.settings, generation.request
    return f"codec {settings.codec}, LLM {settings.generation_llm}, seed {request.seed}, " + (
        f"drawn at temperature {request.temperature:g}, top p {request.top_p:g}"
        if request.temperature
        else "the most probable word each time"
    )


def _what_noisy_is(generation: Generation[Any]) -> str:
    if isinstance(generation, InContext):
        return "Noisy is the clip as its codes sound; the answer comes of these codes and of nothing else."
    if generation.method == UNCHANGED:
        return "Noisy is the clip itself, and so is the answer: nothing was taken out."
    return "Noisy is the clip itself; the answer has its sample rate and its length."


def _left_out(generation: Generation[Any], demonstrations: int) -> Iterator[str]:
    """Yield notes about demonstrations that are not on the page."""
    there = len(generation.library.demonstrations)
    if isinstance(generation, InContext):
        if (more := there - MAX_ITEMS) > 0:
            yield f"{more} more demonstrations were shown to the LLM than are here."
    elif (more := there - demonstrations) > 0:
        yield f"{more} more pairs are in the library, or were removed from where they were imported."


def _set_aside(record: Record) -> Iterator[str]:
    """Yield notes about refused lines, quarantined clips and failed texts."""
    if record.refused:
        named = "; ".join(f"line {one.number}: {one.reason}" for one in record.refused[:MAX_REFUSED_LINES])
        yield f"{len(record.refused)} lines were set aside, all in {REFUSED} beside this page: {named}"
    for (status, reason), number in Counter((one.status, one.reason) for one in record.answers).items():
        if status == "quarantined":
            yield f"{number} clips were quarantined: {reason}."
        if status == "failed":
            yield f"{number} texts were not answered, and the next run asks them again: {reason}."
