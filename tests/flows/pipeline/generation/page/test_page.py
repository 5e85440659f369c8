"""The page of a generation run shows what it was given, needs nothing else, and runs nothing."""

from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.audio.resampling import wav_bytes
from core.prompts.generation import GenerationTask
from flows.pipeline.generation.page.page import MAX_ALIGNED_WORDS, MAX_ITEMS, Item, Page, render_page
from flows.pipeline.runtime.printable import visible
from tests.flows.artifacts.test_pages import MARKUP

LONG_PROMPT = "Input: < lead >\n" * 60
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "javascript:alert(1)",
    "</style></title></pre><script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#x3c;",
    "gpj.\u202eexe\u2066",
    "\x00\x1b[31m\ud800",
    "x" * 10_000,
)


def wav(samples: int = 960, value: float = 0.25) -> bytes:
    return wav_bytes(torch.full((samples,), value), 16_000)


def page(text: str = "x", task: GenerationTask = "denoise") -> Page:
    """One of everything, with this text wherever a text may stand."""
    item = Item(text, wav(), {text: text}, wav(1920))
    words = (text, (text, "river", text)), (text, ("river", text))
    return Page(text, task, LONG_PROMPT + text, (item,), (item,), (text,), words)


class Parsed(HTMLParser):
    """Tags with their attributes in order, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """What a text must not change: tags, and the names of their attributes."""
        return [(tag, list(attributes)) for tag, attributes in self.tags]

    @property
    def addresses(self) -> list[str]:
        return [value or "" for _, pairs in self.tags for name, value in pairs.items() if name in ADDRESSES]


PLAIN = Parsed(render_page(page("y")))


def test_the_page_holds_what_it_was_given() -> None:
    speech = Item("the square root of 4", wav(1600), {"mel distance (dB)": 3.14159, "seed": 17})
    prompt = "###\nInput: < an audio of 1 >"
    seen = Parsed(render_page(Page("Digits", "speech", prompt, (speech,), (speech,), ("greedy",)))).text
    for text in ("Digits", "Speech from a text: 1 demonstration, 1 answer", "greedy", prompt):
        assert text in seen
    for text in (speech.caption, "3.142", "17", "0.10 s"):
        assert seen.count(text) == 2
    assert "Words that two clips share" not in seen


def test_sounds_are_in_the_page_byte_by_byte() -> None:
    sources = [str(attributes["src"]) for attributes in PLAIN.all("audio")]
    assert [b64decode(source.removeprefix("data:audio/wav;base64,")) for source in sources] == [
        wav(1920),
        wav(),
        wav(1920),
        wav(),
    ]


def test_every_picture_says_what_it_shows() -> None:
    pictures = PLAIN.all("img")
    assert len(pictures) == 5
    assert [picture["alt"] for picture in pictures[1:3]] == [
        "mel-spectrogram, noisy, of: y",
        "mel-spectrogram, answer, of: y",
    ]


def test_the_page_needs_and_may_load_nothing_else() -> None:
    assert len(PLAIN.addresses) == 10
    assert all(address.startswith("data:") for address in PLAIN.addresses)
    policy = next(one for one in PLAIN.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_text(text: str) -> None:
    html = render_page(page(text))
    seen = Parsed(html)
    assert seen.shape == PLAIN.shape
    assert len(seen.addresses) == 10
    assert all(address.startswith("data:") for address in seen.addresses)
    assert html.encode().decode() == html
    assert visible(text, 160) in seen.text


@settings(max_examples=50)
@given(MARKUP | st.text(max_size=40))
@example("'\"><b")
def test_no_text_changes_the_page_around_it(text: str) -> None:
    assert Parsed(render_page(page(text))).shape == PLAIN.shape


@given(st.text(max_size=40), st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=5))
def test_what_shows_nothing_is_made_visible(text: str, hidden: str) -> None:
    shown = visible(text + hidden, 1000)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()


def test_letters_of_all_scripts_and_joined_signs_stay_as_they_are() -> None:
    text = "ёлка, 犬の鳴き声, نمی‌خواهم, \U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert visible(text, 160) == text


def test_a_long_name_is_cut_in_its_middle() -> None:
    name = "s3://calls/" + "deep/" * 2000 + "0412.wav"
    shown = visible(name, 160)
    assert len(shown) < 200
    assert shown.startswith("s3://calls/deep/")
    assert shown.endswith("/0412.wav")
    assert "… 9859 characters …" in shown


@pytest.mark.parametrize(
    "address",
    [
        "https://calls.s3.amazonaws.com/a.wav?X-Amz-Signature=5ec2e7&X-Amz-Date=1",
        "HTTPS://calls.blob.core.windows.net/a.wav?sig=5ec2e7",
        "https://calls.example/" + "a/" * 200 + "a.wav?token=5ec2e7",
        "https://someone:5ec2e7@calls.example/a.wav",
        "s3://someone:5ec2e7@calls/a.wav",
    ],
)
def test_an_address_loses_what_is_secret_in_it_and_leads_nowhere(address: str) -> None:
    html = render_page(page(f"said {address} twice"))
    assert "5ec2e7" not in html
    assert "a.wav" in html or "@" in address
    assert not Parsed(html).all("a")


def test_a_key_may_hold_a_question_mark() -> None:
    assert visible("s3://calls/what?.wav", 160) == "s3://calls/what?.wav"


def test_a_short_prompt_is_not_folded_and_a_long_one_is_whole() -> None:
    short = Parsed(render_page(replace(page(), prompt_text="Input: < lead >")))
    assert not short.all("details")
    prompt = "\n".join(f"Input: < audio {number} >" for number in range(400))
    seen = Parsed(render_page(replace(page(), prompt_text=prompt)))
    assert len(seen.all("details")) == 1
    head, _, more = seen.text.partition("The prompt")[2].partition("The rest of it")
    assert 500 < len(head) < 620
    assert f"{head} {more}".replace("…", "").split() == prompt.split()


def test_of_an_endless_prompt_the_beginning_and_the_end_are_shown() -> None:
    prompt = "begin " + "lead " * 100_000 + "end"
    html = render_page(replace(page(), prompt_text=prompt))
    assert len(html) < 300_000
    assert "characters … " in html
    assert "lead end</pre>" in html


def test_shared_words_have_the_same_color_and_are_underlined() -> None:
    one, other = ("a", "b", "c", "d"), ("a", "c", "d", "e")
    html = render_page(replace(page(), aligned=(("first", one), ("second", other))))
    columns = [
        part["class"] for part in Parsed(html).all("div") if (part["class"] or "").startswith("column")
    ]
    assert columns == ["column shared s1", "column", "column shared s2", "column shared s2", "column"]
    assert "3 of 4 and 4 words are shared, in their order" in html
    assert "text-decoration-line: underline" in html


def test_only_the_first_words_of_a_long_clip_are_compared() -> None:
    words = ("first", ("lead",) * 5000), ("second", ("lead",) * 4000)
    html = render_page(replace(page(), aligned=words))
    assert f"{MAX_ALIGNED_WORDS} of {MAX_ALIGNED_WORDS} and {MAX_ALIGNED_WORDS} words are shared" in html
    assert f"only the first {MAX_ALIGNED_WORDS} of a clip are compared" in html


def test_a_long_clip_is_said_to_be_cut() -> None:
    long = Item("s3://calls/0412.wav", wav(16 * 16_000), {})
    html = render_page(replace(page(), answers=(long,)))
    assert "the first 15 of 16.00 s" in html
    beginning = Item("s3://calls/0412.wav", wav(16_000), {}, seconds=100.0)
    assert "the first 1 of 100.00 s" in render_page(replace(page(), answers=(beginning,)))


def test_more_items_than_a_page_holds_are_counted() -> None:
    items = (Item("x", wav(320), {}),) * (MAX_ITEMS + 3)
    seen = Parsed(render_page(replace(page(), demonstrations=items)))
    assert len(seen.all("article")) == MAX_ITEMS + 1
    assert "3 more are not shown on this page" in seen.text


def test_a_run_without_answers_has_a_page_too() -> None:
    seen = Parsed(render_page(Page("empty", "sound", "", (), ())))
    assert "0 demonstrations, 0 answers" in seen.text
    assert seen.text.count("Nothing.") == 2


def test_an_item_that_is_no_audio_is_refused() -> None:
    with pytest.raises(ValueError, match="not a wav file"):
        render_page(replace(page(), answers=(Item("x", b"<script>", {}),)))
