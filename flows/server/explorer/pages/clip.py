"""One clip: to look at, to listen to, and why it has its label."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clip import (
    ClipFacts,
    ExplainedAnswer,
    LabelHeard,
    Shown,
    Tag,
    Word,
    get_clip,
    list_asides,
    list_events,
    list_past_answers,
    list_tags,
    list_words,
)
from db.explorer.embeddings import get_compared, list_shown_embeddings
from db.explorer.latents import get_latent, list_shown_latents
from flows.server.explorer.baselines import NamedGuess, guesses, numbers
from flows.server.explorer.query import clip_id_of, given_number, given_text, reading
from flows.server.explorer.rendering import page, shown
from flows.server.explorer.similarity import Latents, directions, nearest, unit_vectors

WINDOW_SECONDS = 60.0
"""The part of a clip that is drawn at once."""
CELLS: tuple[int, ...] = (*range(18, 50, 2), 52, 56, 60, 64, 72, 80, 88, 96)
"""Widths of a word in pixels; narrow ones are written upwards."""
UPRIGHT_PIXELS = 64
PAGE_PIXELS = 1044
MAX_ANSWERS, MAX_TAGS, MAX_EVENTS, NEAREST = 100, 400, 400, 5
LEAST_TAG_SCORE = 0.3
MAX_PROVENANCE_LENGTH = 4_000


@dataclass(frozen=True)
class Bar:
    """Something that is heard for a while: where it is drawn, and whether beside others below it."""

    name: str
    score: float
    start: float
    end: float
    x: float
    width: float
    row: int = 0


@dataclass(frozen=True)
class Lane:
    """The events of one library and labeler; those that overlap are drawn in rows."""

    library: str
    labeler: str
    bars: Sequence[Bar]

    @property
    def rows(self) -> int:
        """How many rows the bars take."""
        return 1 + max(bar.row for bar in self.bars)


@dataclass(frozen=True)
class Strip:
    """Spectrogram and words of a part of a clip on one time axis."""

    begins: float
    ends: float
    words: Sequence[Word]
    tags: Sequence[Bar]
    lanes: Sequence[Lane]
    cell: int
    code_seconds: float
    earlier: float | None
    later: float | None

    @property
    def pixels(self) -> int:
        """The width of the picture."""
        return max(1, round((self.ends - self.begins) / self.code_seconds * self.cell))

    @property
    def is_upright(self) -> bool:
        """Whether words are written upwards."""
        return self.cell < UPRIGHT_PIXELS

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """Seconds, and their place in pixels."""
        a_second = self.cell / self.code_seconds
        step = next((step for step in (0.1, 0.2, 0.5, 1, 2, 5) if step * a_second >= 44), 10)
        count = math.floor((self.ends - self.begins) / step + 1e-6)
        return [
            (f"{self.begins + at * step:.1f}".removesuffix(".0"), round(at * step * a_second, 1))
            for at in range(count + 1)
        ]


@dataclass(frozen=True)
class Neighbor:
    """A demonstration and its similarity to the clip."""

    shown: Shown
    cosine: float


@dataclass(frozen=True)
class Neighbors:
    """The nearest demonstrations, and the embedding model by which they are: None by the codec's latents."""

    model: str | None
    nearest: Sequence[Neighbor]


@dataclass(frozen=True)
class AnswerSection:
    """An answer as its section shows it."""

    past: ExplainedAnswer
    probabilities: Sequence[tuple[str, float]]
    guesses: Sequence[NamedGuess]
    numbers: Sequence[tuple[str, float]]
    neighbors: Neighbors
    provenance: Mapping[str, str]


def clip(request: Request) -> Response:
    """Show a clip."""
    at = given_number(request, "at", 0, 10**7) or 0.0
    with reading(request) as session:
        found = get_clip(session, clip_id_of(request))
        if found is None:
            raise HTTPException(
                404,
                "No clip has this number now. It was replaced by a newer version, or is of another database.",
            )
        past = list_past_answers(session, found, MAX_ANSWERS) if found.content_sha256 else []
        answers = [_answer(session, found, one) for one in past if one.status]
        return page(
            "clip.html",
            clip=found,
            strip=strip_of(session, found, at),
            answers=answers,
            past=past,
            asides=list_asides(session, found.uri),
            at=at,
            place=given_text(request, "place") or found.uri.rpartition("/")[0],
        )


def strip_of(session: Session, clip: ClipFacts, at: float) -> Strip | None:
    """Return the part of a clip that holds a moment; None for a clip that was not read."""
    if clip.duration is None:
        return None
    begins = min(at, clip.duration) // WINDOW_SECONDS * WINDOW_SECONDS
    ends = min(begins + WINDOW_SECONDS, clip.duration)
    words = list_words(session, clip.uri, begins, ends)
    seconds = words[1].start - words[0].start if len(words) > 1 else max(clip.duration, 0.01)
    tags = list_tags(session, clip.uri, begins, ends, LEAST_TAG_SCORE, MAX_TAGS)
    heard = list_events(session, clip.uri, begins, ends, MAX_EVENTS)
    cell = _cell((ends - begins) / seconds)
    axis = TimeAxis(begins, ends, cell / seconds)
    return Strip(
        begins,
        ends,
        words,
        [axis.bar(tag.name, tag.score, tag.start, tag.end) for tag in _loudest(tags)],
        list(_lanes(heard, axis)),
        cell,
        seconds,
        begins - WINDOW_SECONDS if begins else None,
        ends if ends < clip.duration else None,
    )


def _cell(codes: float) -> int:
    """Return the widest cell with which the codes fit the page, or the narrowest."""
    return max((cell for cell in CELLS if cell * codes <= PAGE_PIXELS), default=CELLS[0])


def _loudest(tags: Sequence[Tag]) -> list[Tag]:
    """Return the best class of each window."""
    best: dict[float, Tag] = {}
    for tag in tags:
        best.setdefault(tag.start, tag)
    return list(best.values())


@dataclass(frozen=True)
class TimeAxis:
    """Seconds of the part that is drawn, and pixels a second."""

    begins: float
    ends: float
    pixels_a_second: float

    def bar(self, name: str, score: float, start: float, end: float, row: int = 0) -> Bar:
        """Return where something is drawn that is heard from `start` to `end`, cut to the part."""
        left, right = max(start, self.begins), min(end, self.ends)
        x = round((left - self.begins) * self.pixels_a_second, 1)
        width = round(max(right - left, 0) * self.pixels_a_second, 1)
        return Bar(name, score, start, end, x, width, row)


def _lanes(heard: Sequence[LabelHeard], axis: TimeAxis) -> Iterator[Lane]:
    """Yield a lane for each library and labeler, in which each label has its row."""
    for (library, labeler), events in groupby(heard, key=lambda one: (one.library, one.labeler)):
        rows: dict[str, int] = {}
        bars = [
            axis.bar(one.label, one.score, one.start, one.end, rows.setdefault(one.label, len(rows)))
            for one in events
        ]
        yield Lane(library, labeler, bars)


def _answer(session: Session, clip: ClipFacts, past: ExplainedAnswer) -> AnswerSection:
    assert clip.content_sha256
    ordered = sorted(past.probabilities.items(), key=lambda pair: (-pair[1], pair[0]))
    return AnswerSection(
        past,
        ordered,
        guesses(past.baselines),
        numbers(past.baselines),
        neighbors_of(session, clip.content_sha256, past),
        {shown(key): shown(_plain(value), MAX_PROVENANCE_LENGTH) for key, value in past.provenance.items()},
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def neighbors_of(session: Session, content: bytes, answer: ExplainedAnswer) -> Neighbors:
    """Return the demonstrations most like a content, as its labeler compares them or else as they sound."""
    embedding = get_compared(session, content, answer.labeler)
    if embedding is None:
        return Neighbors(None, _by_latent(session, content, answer))
    others = list_shown_embeddings(session, answer.library, answer.version, embedding.fingerprint)
    vectors = unit_vectors([embedding.vector, *(other.vector for other in others)])
    return Neighbors(embedding.model, _nearest([other.shown for other in others], vectors))


def _by_latent(session: Session, content: bytes, answer: ExplainedAnswer) -> list[Neighbor]:
    latent = get_latent(session, content, answer.codec_fingerprint)
    if latent is None:
        return []
    others = list_shown_latents(session, answer.library, answer.version, latent.codec)
    stored = [(latent.mean, latent.deviation), *((one.mean, one.deviation) for one in others)]
    vectors = directions(stored)
    return _nearest([other.shown for other in others], vectors)


def _nearest(shown: Sequence[Shown], vectors: Latents) -> list[Neighbor]:
    """Return the nearest to the first of the vectors; the others are those of the demonstrations."""
    return [Neighbor(shown[at], cosine) for at, cosine in nearest(vectors[0], vectors[1:], NEAREST)]
