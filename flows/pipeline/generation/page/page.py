"""A page about a generation run that people open in a browser: one HTML file to look at and to listen to.

It needs nothing but itself: pictures and sounds are in it, there is no script, and its policy lets a browser
load nothing from elsewhere. Names and texts come from outside: they are escaped, cut, shown without the
characters that turn text around, and addresses stand as text, without what is secret in them.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from core.prompts.generation import GenerationTask
from flows.pipeline.configuration.credentials import CREDENTIAL, mask_url
from flows.pipeline.generation.page.alignment import Stretch, align
from flows.pipeline.generation.page.pictures import RANGE, Heard, Scale, frequency_ticks, hear, scale_bar

Words = tuple[str, tuple[str, ...]]
"""The name of a clip, and its semantic words."""

TASKS: dict[GenerationTask, str] = {
    "speech": "Speech from a text",
    "sound": "Sound from a text",
    "denoise": "Noise taken out of audio",
}
MOST_ITEMS = 50
"""Demonstrations and answers that are shown, of each: a page of more is slow to open."""
MOST_WORDS = 120
"""Words of a clip that are aligned."""
MOST_METRICS = 12
LONGEST_NAME, LONGEST_VALUE, LONGEST_NOTE = 160, 40, 600
"""Characters of a name or text, of a metric's name or value, of a note; the middle of a longer one goes."""
PROMPT_HEAD, PROMPT_MORE = 600, 20_000
"""Characters of a prompt that are seen at once, and when it is unfolded."""
NARROWEST_CARD, BESIDE_PICTURE = 250, 70
"""Pixels of a card, and what its frequency axis and margins take of them."""
NO_WORD = "·"
COLORS = 6
"""Of shared words; the style of the underline changes with the color."""

ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
JOINERS = "\u200c\u200d"
"""They show nothing themselves, and some scripts and emoji need them."""


@dataclass(frozen=True)
class Item:
    """A demonstration, or a query and its answer.

    caption is the text or the address of what was asked; wav the demonstrated audio or the answer, asked_wav
    the noisy audio that was asked with, both as `core.audio.waveform.wav_bytes` writes them. seconds says how
    long the whole of both is where they may be its beginning.
    """

    caption: str
    wav: bytes
    metrics: Mapping[str, float | str]
    asked_wav: bytes | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Page:
    """What a page shows; `aligned` are two clips whose words are compared."""

    title: str
    task: GenerationTask
    prompt_text: str
    demonstrations: tuple[Item, ...]
    answers: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    aligned: tuple[Words, Words] | None = None


@dataclass(frozen=True)
class _Clip:
    """A picture and its player."""

    name: str
    length: str
    picture: str
    audio: str
    width: int
    ticks: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Card:
    """An item as it is shown."""

    caption: str
    clips: tuple[_Clip, ...]
    metrics: tuple[tuple[str, str], ...]

    @property
    def width(self) -> int:
        return max(clip.width for clip in self.clips)


@dataclass(frozen=True)
class _Group:
    """Cards under a heading, and how many more there are."""

    heading: str
    cards: tuple[_Card, ...]
    left_out: int

    @property
    def width(self) -> int:
        """Pixels of a card, at least: of its widest picture and what stands beside it."""
        return max([NARROWEST_CARD, *(card.width + BESIDE_PICTURE for card in self.cards)])


@dataclass(frozen=True)
class _Column:
    """A word of each clip, or none; color 1 to 6 where they share it, else 0."""

    first: str
    second: str
    color: int


@dataclass(frozen=True)
class _Alignment:
    """Two clips' words, how many of them are shared, and how many were not compared."""

    names: tuple[str, str]
    columns: tuple[_Column, ...]
    counts: str


def render_page(page: Page) -> str:
    """The page as one HTML file. Raises ValueError for an item whose bytes are no wav file."""
    answers, demonstrations = page.answers[:MOST_ITEMS], page.demonstrations[:MOST_ITEMS]
    heard = [_hear(item) for item in (*answers, *demonstrations)]
    scale = Scale.of(clip for clips in heard for clip in clips)
    cards = [
        _card(item, clips, _clip_names(page.task, is_answer=number < len(answers)), scale)
        for number, (item, clips) in enumerate(zip((*answers, *demonstrations), heard, strict=True))
    ]
    groups = (
        _group("What it answered", cards[: len(answers)], page.answers),
        _group("What it was shown", cards[len(answers) :], page.demonstrations),
    )
    return _template().render(_head(page) | {"groups": groups} | _axes() | _prompt(page.prompt_text))


def _head(page: Page) -> dict[str, object]:
    demonstrations, answers = len(page.demonstrations), len(page.answers)
    shown = f"{demonstrations} {_plural('demonstration', demonstrations)}"
    return {
        "title": visible(page.title, LONGEST_NAME),
        "what": f"{TASKS[page.task]}: {shown}, {answers} {_plural('answer', answers)}",
        "notes": [visible(note, LONGEST_NOTE) for note in page.notes],
        "alignment": _alignment(*page.aligned) if page.aligned else None,
    }


def _axes() -> dict[str, object]:
    return {"hertz": frequency_ticks(), "bar": _data_uri("image/png", scale_bar()), "range": f"{RANGE:g}"}


def _prompt(text: str) -> dict[str, object]:
    """Its beginning, up to a space, and the rest to unfold."""
    shown = visible(text, PROMPT_HEAD + PROMPT_MORE, keep="\n")
    if len(shown) <= PROMPT_HEAD:
        return {"prompt_head": shown, "prompt_more": ""}
    end = max(shown.rfind(" ", 0, PROMPT_HEAD), PROMPT_HEAD // 2)
    return {"prompt_head": shown[:end], "prompt_more": shown[end:]}


def _hear(item: Item) -> tuple[Heard, ...]:
    """What was asked with, where that is audio, and the item's own audio."""
    wavs = (item.wav,) if item.asked_wav is None else (item.asked_wav, item.wav)
    clips = (hear(wav) for wav in wavs)
    return tuple(replace(clip, whole=item.seconds or clip.whole) for clip in clips)


def _clip_names(task: GenerationTask, *, is_answer: bool) -> tuple[str, str]:
    """Of what is asked with, and of what follows it."""
    if task == "denoise":
        return "noisy", "answer" if is_answer else "clean"
    return "asked", "answer" if is_answer else "demonstration"


def _group(heading: str, cards: Sequence[_Card], items: Sequence[Item]) -> _Group:
    return _Group(heading, tuple(cards), len(items) - len(cards))


def _card(item: Item, heard: Sequence[Heard], names: tuple[str, str], scale: Scale) -> _Card:
    clips = tuple(_clip(*pair, scale) for pair in zip(names[-len(heard) :], heard, strict=True))
    metrics = list(item.metrics.items())[:MOST_METRICS]
    shown = tuple((visible(name, LONGEST_VALUE), _value(value)) for name, value in metrics)
    return _Card(visible(item.caption, LONGEST_NAME), clips, shown)


def _clip(name: str, heard: Heard, scale: Scale) -> _Clip:
    is_cut = heard.whole > heard.seconds
    length = f"the first {heard.seconds:g} of {heard.whole:.2f} s" if is_cut else f"{heard.seconds:.2f} s"
    return _Clip(
        name,
        length,
        _data_uri("image/png", scale.png(heard)),
        _data_uri("audio/wav", heard.wav),
        scale.width(heard.seconds),
        scale.time_ticks(heard.seconds),
    )


def _value(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(str(value), LONGEST_VALUE)


def _alignment(first: Words, second: Words) -> _Alignment:
    names = visible(first[0], LONGEST_NAME), visible(second[0], LONGEST_NAME)
    one, other = first[1][:MOST_WORDS], second[1][:MOST_WORDS]
    stretches = align(one, other)
    shared = sum(len(stretch.first) for stretch in stretches if stretch.shared)
    counts = f"{shared} of {len(one)} and {len(other)} words are shared, in their order"
    if max(len(first[1]), len(second[1])) > MOST_WORDS:
        counts += f"; only the first {MOST_WORDS} of a clip are compared"
    return _Alignment(names, tuple(_columns(stretches)), counts)


def _columns(stretches: Iterable[Stretch]) -> Iterator[_Column]:
    for number, stretch in enumerate(stretches):
        # shared stretches alternate with others: the color changes from one to the next
        color = number // 2 % COLORS + 1 if stretch.shared else 0
        for words in zip_longest(stretch.first, stretch.second, fillvalue=NO_WORD):
            one, other = (visible(word, LONGEST_VALUE) for word in words)
            yield _Column(one, other, color)


def visible(text: str, longest: int, keep: str = "") -> str:
    """A text as people may see it: nothing secret or hidden in it, and no longer than about `longest`.

    Addresses lose their passwords and queries. A character that shows nothing (a control, a mark that turns
    the direction of writing, half of a pair) stands as its number, but for those to `keep`.
    """
    text = re.sub(CREDENTIAL, "***", ADDRESS.sub(lambda found: mask_url(found[0]), text))
    if len(text) > longest:
        tail = longest // 4
        left_out = len(text) - longest
        text = f"{text[: longest - tail]} … {left_out} characters … {text[-tail:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in JOINERS + keep else f"⟨U+{ord(c):04X}⟩" for c in text)


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


@cache
def _template() -> Template:
    """Everything that is put in is escaped."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")
