"""What a run of generation leaves for people: a page to look at and to listen to, and the lines set aside.

The same answers are never written twice to one place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from db.engine import session_scope
from db.exports import Export, begin_export, complete_export, find_export
from db.generated import StoredAudio
from flows.pipeline.generation.generate import Asked, Generating
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
SHOWN = 50
"""Answers, and demonstrations, that a page has."""
HEARD_SECONDS = 15.0
"""Of a longer clip only the beginning is decoded for the page, which plays no more."""
NAMED = 5
"""So many refused lines are named on it."""
ABOUT = {
    "level_db": "level_db: the RMS level, 0 is full scale.",
    "likeness": "likeness: of the codes with those of the nearest demonstration of the same text, 0 to 1.",
    "mel_distance_db": "mel_distance_db: how far the answer is from the noisy clip, the mean over mel bands: "
    "how much was changed, not how well.",
}


@dataclass(frozen=True)
class AudioAnswer:
    """What became of one question; `name` is the text, or the clip's uri."""

    asked: Asked | None
    name: str
    status: Literal["generated", "quarantined", "failed", "pending"]
    audio: StoredAudio | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Record:
    """What a run came to: answers in the order in which they were asked, and lines that were set aside."""

    generating: Generating
    answers: Sequence[AudioAnswer]
    refused: Sequence[Refused] = ()

    @property
    def heard(self) -> list[tuple[Asked, AudioAnswer, StoredAudio]]:
        """The answers that there are."""
        return [(one.asked, one, one.audio) for one in self.answers if one.asked and one.audio]

    @property
    def key(self) -> bytes:
        """Names the page: where it goes, what it shows and the version of its form."""
        generating = self.generating
        said = [
            [one.name, one.status, one.reason, one.audio and one.audio.work_key.hex()] for one in self.answers
        ]
        where = [PAGE_VERSION, generating.runtime.settings.storage_uri, generating.library_name]
        parts = ["generated", *where, said, [asdict(one) for one in self.refused]]
        return hashlib.sha256(json.dumps(parts).encode()).digest()


def keep_page(record: Record, run: OpenRun) -> Counts:
    """Writes the page, and the refused lines before it; `run.manifest` names the page.

    That is the page of an earlier run where it has these very answers. Where its files are missing or
    changed, they are written again in their place.
    """
    runtime, key = record.generating.runtime, record.key
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

    generating, heard = record.generating, record.heard
    codes = generating.codes(asked for asked, _, _ in heard[:SHOWN])
    with generating.runtime.device_lock():
        page = Page(
            title=f"{generating.task} by {generating.library_name}",
            task=generating.task,
            prompt_text=_prompt(generating, heard[0][0] if heard else None),
            demonstrations=tuple(_demonstrations(generating)),
            answers=tuple(
                _item(generating, asked, answer, audio, codes[asked])
                for asked, answer, audio in heard[:SHOWN]
            ),
            notes=tuple(_notes(record, run_id)),
            aligned=_aligned(generating, heard[0][0], codes[heard[0][0]]) if heard else None,
        )
    return render_page(page).encode()


def _prompt(generating: Generating, asked: Asked | None) -> str:
    """The prompt of the first answer as the LLM reads it."""
    from core.prompts.generation import GenerationTemplate

    vocabulary = generating.llm.vocabulary
    template = GenerationTemplate(vocabulary, generating.task)
    query_ids = template.query_ids(generating.question(asked)) if asked else []
    return vocabulary.tokenizer.decode([*generating.generator.prefix_ids, *query_ids])


def _demonstrations(generating: Generating) -> Iterator[Item]:
    from flows.pipeline.generation.page.page import Item

    rows = zip(generating.library.demonstrations, generating.examples, strict=True)
    for row, example in islice(rows, SHOWN):
        asked = example.request
        noisy = None if isinstance(asked, str) else _wav(generating, generating.decode(_codes(asked), 0))
        answer = generating.decode(_codes(example.answer), 0)
        yield Item(row.label or row.uri, _wav(generating, answer), {}, noisy)


def _item(
    generating: Generating, asked: Asked, answer: AudioAnswer, audio: StoredAudio, codes: AudioCodes
) -> Item:
    """What is heard is what the object holds, decoded anew from the row.

    The beginning of a longer clip is decoded alone, and draws other noise than the whole.
    """
    from flows.pipeline.generation.page.page import Item

    noisy, length = (
        generating.noisy(asked),
        round(audio.duration * generating.runtime.codec.config.sample_rate),
    )
    heard = None if noisy is None else _heard(generating, noisy, 0, length)
    said = _heard(generating, codes, audio.seed, length)
    return Item(answer.name, said, audio.metrics, heard, seconds=audio.duration)


def _heard(generating: Generating, codes: AudioCodes, seed: int, length: int) -> bytes:
    """The beginning of what codes decode to, at most `length` samples of it."""
    from core.tokens.clip_codes import CODES_PER_BLOCK

    config = generating.runtime.codec.config
    blocks = math.ceil(HEARD_SECONDS * config.sample_rate / config.block_length)
    semantic, acoustic1, acoustic2 = (
        layer[: blocks * count] for layer, count in zip(codes, CODES_PER_BLOCK, strict=True)
    )
    return _wav(generating, generating.decode((semantic, acoustic1, acoustic2), seed)[:length])


def _wav(generating: Generating, waveform: Tensor) -> bytes:
    from core.audio.waveform import wav_bytes

    return wav_bytes(waveform, generating.runtime.codec.config.sample_rate)


def _codes(window: WindowCodes) -> AudioCodes:
    semantic, acoustic1, acoustic2 = (tuple(layer.tolist()) for layer in window.layers)
    return semantic, acoustic1, acoustic2


def _aligned(generating: Generating, asked: Asked, codes: AudioCodes) -> tuple[Words, Words] | None:
    """The words of the first answer beside those it was asked with, or of a demonstration of its text."""
    question = generating.question(asked)
    if isinstance(question, str):
        shown = [example.answer for example in generating.examples if example.request == question]
        if not shown:
            return None
        beside = f"shown: {question}", _words(generating, shown[0].semantic.tolist())
    else:
        beside = "the noisy clip", _words(generating, question.semantic.tolist())
    said = codes[0][: len(beside[1])]
    return beside, ("the answer", _words(generating, said))


def _words(generating: Generating, codes: Sequence[int]) -> tuple[str, ...]:
    return tuple(generating.runtime.codec.words[code] for code in codes)


def _notes(record: Record, run_id: UUID) -> Iterator[str]:
    generating, settings = record.generating, record.generating.runtime.settings
    request = generating.request
    yield f"Run {run_id}: codec {settings.codec}, LLM {settings.generation_llm}, seed {request.seed}, " + (
        f"drawn at temperature {request.temperature:g}, top p {request.top_p:g}"
        if request.temperature
        else "the most probable word each time"
    )
    if generating.task == "denoise":
        yield "Noisy is the clip as its codes sound; the answer comes of these codes and of nothing else."
    measured = {name for _, _, audio in record.heard for name in audio.metrics}
    yield from (meaning for name, meaning in ABOUT.items() if name in measured)
    if (more := len(record.heard) - SHOWN) > 0:
        yield f"{more} more answers are in analytics.generated; here are the first {SHOWN}."
    if (more := len(generating.examples) - SHOWN) > 0:
        yield f"{more} more demonstrations were shown to the LLM than are here."
    yield from _set_aside(record)


def _set_aside(record: Record) -> Iterator[str]:
    """Lines of a file that were refused, and clips that wait for replay."""
    if record.refused:
        named = "; ".join(f"line {one.number}: {one.reason}" for one in record.refused[:NAMED])
        yield f"{len(record.refused)} lines were set aside, all in {REFUSED} beside this page: {named}"
    for (status, reason), number in Counter((one.status, one.reason) for one in record.answers).items():
        if status == "quarantined":
            yield f"{number} clips were quarantined: {reason}."
        if status == "failed":
            yield f"{number} texts were not answered, and the next run asks them again: {reason}."
