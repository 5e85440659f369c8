"""A page about a generation run for browsers: one HTML file with pictures and sound.

It is self-contained: it has no script, and its policy lets a browser load nothing else. Names and texts come
from outside: they are escaped, cut and shown without characters that reorder text, and addresses are plain
text without secrets.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from core.audio.picture import RANGE_DB, scale_bar
from core.prompts.generation import GenerationTask
from flows.pipeline.generation.page.alignment import Stretch, align
from flows.pipeline.generation.page.pictures import Excerpt, Scale, frequency_ticks, read_excerpt
from flows.pipeline.runtime.printable import visible

Words = tuple[str, tuple[str, ...]]
"""The name of a clip, and its semantic words."""

TASKS: dict[GenerationTask, str] = {
    "speech": "Speech from a text",
    "sound": "Sound from a text",
    "denoise": "Noise taken out of audio",
}
MAX_ITEMS = 50
"""Demonstrations, and answers, on a page: one with more is slow to open."""
MAX_ALIGNED_WORDS = 120
"""Words of a clip that are aligned."""
MAX_METRICS = 12
MAX_NAME_LENGTH, MAX_VALUE_LENGTH, MAX_NOTE_LENGTH = 160, 40, 600
"""Characters of a name or text, of a metric's name or value, of a note. Longer ones lose their middle."""
PROMPT_HEAD_LENGTH, PROMPT_REST_LENGTH = 600, 20_000
"""Characters of a prompt that are visible at once, and when it is unfolded."""
MIN_CARD_PIXELS, AXIS_PIXELS = 250, 70
"""The least width of a card, and the part of it for frequency axis and margins."""
NO_WORD = "·"
COLORS = 6
"""Colors of shared words; the style of the underline changes with the color."""


@dataclass(frozen=True)
class Item:
    """A demonstration, or a query and its answer.

    `caption` is the text or address of the question; `wav` the demonstrated audio or the answer, `noisy_wav`
    the noisy audio of the question, both as `core.audio.resampling.wav_bytes` writes them. `seconds` is the
    whole length, if the files have only the beginning. `name` says what `wav` is, where that is not clear by
    the task; `further` are other answers to the same question, by name.
    """

    caption: str
    wav: bytes
    metrics: Mapping[str, float | str]
    noisy_wav: bytes | None = None
    seconds: float | None = None
    name: str = ""
    further: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Page:
    """The content of a page. `aligned` are two clips whose words are compared."""

    title: str
    task: GenerationTask
    prompt_text: str
    demonstrations: tuple[Item, ...]
    answers: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    aligned: tuple[Words, Words] | None = None


@dataclass(frozen=True)
class _Clip:
    """A picture and a player."""

    name: str
    length: str
    picture: str
    audio: str
    width: int
    ticks: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Card:
    """An item as the template needs it."""

    caption: str
    clips: tuple[_Clip, ...]
    metrics: tuple[tuple[str, str], ...]

    @property
    def width(self) -> int:
        return max(clip.width for clip in self.clips)


@dataclass(frozen=True)
class _Group:
    """Cards under a heading, and the number of further ones."""

    heading: str
    cards: tuple[_Card, ...]
    left_out: int

    @property
    def width(self) -> int:
        """The least width of a card in pixels, by the widest picture and its axis."""
        return max([MIN_CARD_PIXELS, *(card.width + AXIS_PIXELS for card in self.cards)])


@dataclass(frozen=True)
class _Column:
    """A word of each clip, or none; color 1 to 6 if they share it, else 0."""

    first: str
    second: str
    color: int


@dataclass(frozen=True)
class _Alignment:
    """Two clips' words, and a sentence with the numbers of shared and compared words."""

    names: tuple[str, str]
    columns: tuple[_Column, ...]
    counts: str


def render_page(page: Page) -> str:
    """Return the page as one HTML file. Raises ValueError for an item whose bytes are not a wav file."""
    answers, demonstrations = page.answers[:MAX_ITEMS], page.demonstrations[:MAX_ITEMS]
    excerpts = [_read_excerpts(item) for item in (*answers, *demonstrations)]
    scale = Scale.of(clip for clips in excerpts for clip in clips)
    cards = [
        _card(item, clips, _clip_names(item, page.task, is_answer=number < len(answers)), scale)
        for number, (item, clips) in enumerate(zip((*answers, *demonstrations), excerpts, strict=True))
    ]
    groups = (
        _group("Answers", cards[: len(answers)], page.answers),
        _group("Demonstrations", cards[len(answers) :], page.demonstrations),
    )
    return _template().render(_head(page) | {"groups": groups} | _axes() | _prompt(page.prompt_text))


def _head(page: Page) -> dict[str, object]:
    demonstrations, answers = len(page.demonstrations), len(page.answers)
    count = f"{demonstrations} {_plural('demonstration', demonstrations)}"
    return {
        "title": visible(page.title, MAX_NAME_LENGTH),
        "subtitle": f"{TASKS[page.task]}: {count}, {answers} {_plural('answer', answers)}",
        "notes": [visible(note, MAX_NOTE_LENGTH) for note in page.notes],
        "alignment": _alignment(*page.aligned) if page.aligned else None,
    }


def _axes() -> dict[str, object]:
    return {"hertz": frequency_ticks(), "bar": _data_uri("image/png", scale_bar()), "range": f"{RANGE_DB:g}"}


def _prompt(text: str) -> dict[str, object]:
    """Return the beginning of the prompt, up to a space, and the rest to unfold."""
    prompt = visible(text, PROMPT_HEAD_LENGTH + PROMPT_REST_LENGTH, keep="\n")
    if len(prompt) <= PROMPT_HEAD_LENGTH:
        return {"prompt_head": prompt, "prompt_more": ""}
    end = max(prompt.rfind(" ", 0, PROMPT_HEAD_LENGTH), PROMPT_HEAD_LENGTH // 2)
    return {"prompt_head": prompt[:end], "prompt_more": prompt[end:]}


def _read_excerpts(item: Item) -> tuple[Excerpt, ...]:
    """Return the noisy audio of the question, if any, the item's own audio, and that of other answers."""
    wavs = (item.wav,) if item.noisy_wav is None else (item.noisy_wav, item.wav)
    clips = (read_excerpt(wav) for wav in (*wavs, *(wav for _, wav in item.further)))
    return tuple(replace(clip, whole=item.seconds or clip.whole) for clip in clips)


def _clip_names(item: Item, task: GenerationTask, *, is_answer: bool) -> tuple[str, ...]:
    """Return the names of the excerpts of an item."""
    names = ("noisy", "clean") if task == "denoise" else ("asked", "demonstration")
    own = item.name or ("answer" if is_answer else names[1])
    further = tuple(name for name, _ in item.further)
    return (own, *further) if item.noisy_wav is None else (names[0], own, *further)


def _group(heading: str, cards: Sequence[_Card], items: Sequence[Item]) -> _Group:
    return _Group(heading, tuple(cards), len(items) - len(cards))


def _card(item: Item, excerpts: Sequence[Excerpt], names: tuple[str, ...], scale: Scale) -> _Card:
    clips = tuple(_clip(*pair, scale) for pair in zip(names, excerpts, strict=True))
    metrics = list(item.metrics.items())[:MAX_METRICS]
    rows = tuple((visible(name, MAX_VALUE_LENGTH), _value(value)) for name, value in metrics)
    return _Card(visible(item.caption, MAX_NAME_LENGTH), clips, rows)


def _clip(name: str, excerpt: Excerpt, scale: Scale) -> _Clip:
    seconds, whole = excerpt.seconds, excerpt.whole
    return _Clip(
        name=name,
        length=f"the first {seconds:g} of {whole:.2f} s" if whole > seconds else f"{seconds:.2f} s",
        picture=_data_uri("image/png", scale.png(excerpt)),
        audio=_data_uri("audio/wav", excerpt.wav),
        width=scale.width(seconds),
        ticks=scale.time_ticks(seconds),
    )


def _value(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(str(value), MAX_VALUE_LENGTH)


def _alignment(first: Words, second: Words) -> _Alignment:
    names = visible(first[0], MAX_NAME_LENGTH), visible(second[0], MAX_NAME_LENGTH)
    one, other = first[1][:MAX_ALIGNED_WORDS], second[1][:MAX_ALIGNED_WORDS]
    stretches = align(one, other)
    shared = sum(len(stretch.first) for stretch in stretches if stretch.shared)
    counts = f"{shared} of {len(one)} and {len(other)} words are shared, in their order"
    if max(len(first[1]), len(second[1])) > MAX_ALIGNED_WORDS:
        counts += f"; only the first {MAX_ALIGNED_WORDS} of a clip are compared"
    return _Alignment(names, tuple(_columns(stretches)), counts)


def _columns(stretches: Iterable[Stretch]) -> Iterator[_Column]:
    for number, stretch in enumerate(stretches):
        # shared stretches alternate with others: the color changes from one shared stretch to the next
        color = number // 2 % COLORS + 1 if stretch.shared else 0
        for words in zip_longest(stretch.first, stretch.second, fillvalue=NO_WORD):
            one, other = (visible(word, MAX_VALUE_LENGTH) for word in words)
            yield _Column(one, other, color)


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


@cache
def _template() -> Template:
    """Return the template, which escapes all values."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")
