"""What the pages say about a night, whatever its clips are called."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from sqlalchemy import NullPool, create_engine, text

from db.engine import session_scope
from db.explorer.clip import get_clip, list_past_answers
from flows.server.explorer.pages import clips
from flows.server.explorer.pages.clip import neighbors_of
from tests.flows.server.explorer.conftest import DAYS, EMPTY_DAY, HOSTILE, Explored

EVENTS = (("tone", 0.0, 0.5), ("<b>hiss</b>", 0.25, 0.75), ("tone", 0.75, 1.0))
HEAR = """
INSERT INTO event_sets (work_key, content_sha256, demonstration_set_id, codec_id, embedding_model_id, labeler,
  run_id)
SELECT sha256(uri::bytea), content_sha256, d.id, k.id, m.id, 'class mean ears', r.id
FROM clips c, demonstration_sets d, codecs k, embedding_models m, LATERAL (SELECT id FROM runs LIMIT 1) r
WHERE c.uri = :uri
"""
ATTRIBUTES_THAT_RUN = re.compile("^on|^style$|^srcdoc$")


class Read(HTMLParser):
    """A page as a browser reads it: its tags, addresses and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]

    @property
    def clips(self) -> list[str]:
        """The addresses of the clips of a list."""
        return [link.partition("?")[0] for link in self.links if re.fullmatch(r"/clips/\d+(\?.*)?", link)]


def read(explored: Explored, path: str, status: int = 200) -> Read:
    answer = explored.client.get(path)
    assert answer.status_code == status, answer.text
    return Read(answer.text)


def all_paths(explored: Explored) -> list[str]:
    night, place = explored.night, f"place={explored.place}&library=sounds"
    clips_of_night = read(explored, night).clips
    return [
        "/",
        f"/nights?prefix={explored.folder}/{{day}}&library=sounds",
        night,
        f"{night}?show=aside",
        f"{night}/map",
        f"/clips?{place}",
        f"/clips?{place}&show=aside",
        f"/map?{place}",
        "/search",
        *clips_of_night,
        *(f"{clip}/similar" for clip in clips_of_night[:3]),
    ]


def test_no_page_runs_or_loads_anything_but_our_own(explored: Explored) -> None:
    for path in all_paths(explored):
        page = read(explored, path)
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        assert scripts == [{"src": "/static/listen.js", "defer": None}], path
        for tag, attributes in page.tags:
            assert tag not in ("style", "iframe", "object", "embed", "base"), path
            assert not [name for name in attributes if ATTRIBUTES_THAT_RUN.match(name)], (path, tag)
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#main")), (path, attributes)
                assert not (attributes.get(name) or "").startswith("//"), (path, attributes)


def test_hostile_names_are_shown_as_text(explored: Explored) -> None:
    page = read(explored, f"/clips?place={explored.place}&library=sounds")
    assert '"><script>alert(1)<.script>.wav' in page.text
    assert "<img src=x onerror=alert(1)>.wav" in page.text
    assert "{{ 7 * 7 }}{% raw %}.wav" in page.text
    assert "⟨U+202E⟩evil⟨U+202C⟩.wav" in page.text
    assert "⟨U+001B⟩" in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", page.text)
    assert "n" * 200 not in page.text
    for name in HOSTILE:
        read(explored, explored.clip(name))


def test_the_overview_counts_each_night_and_draws_its_shares(explored: Explored) -> None:
    page = read(explored, "/")
    assert f"{explored.folder}/{{day}}" in page.text
    for day in (*DAYS, EMPTY_DAY):
        assert day in page.text
    assert [attributes["role"] for tag, attributes in page.tags if tag == "svg" and "role" in attributes] == [
        "img",
        "img",
    ]


def test_an_empty_database_says_so_in_a_sentence(explored: Explored) -> None:
    assert "No clip of this night has an answer" in read(explored, _night(explored, EMPTY_DAY)).text
    assert "every clip could be used" in read(explored, f"{_night(explored, EMPTY_DAY)}?show=aside").text
    assert "A map needs three clips" in read(explored, f"{_night(explored, EMPTY_DAY)}/map").text


def _night(explored: Explored, day: str) -> str:
    return f"/nights/{explored.nights[day].run.id}"


def test_a_list_has_each_clip_once_with_the_least_sure_first(
    explored: Explored, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(explored, explored.night)
    assert len(whole.clips) == len(set(whole.clips)) == 9 + len(HOSTILE)
    margins = [float(text) for text in re.findall(r"\b[01]\.\d{3}\n", whole.text)][::2]
    assert margins == sorted(margins)
    monkeypatch.setattr(clips, "PAGE_ROWS", 3)
    paged, path = [], explored.night
    while path:
        page = read(explored, path)
        paged += page.clips
        path = next((a["href"] or "" for tag, a in page.tags if tag == "a" and a.get("rel") == "next"), "")
    assert paged == whole.clips


def test_filters_narrow_the_list(explored: Explored) -> None:
    night = explored.night
    everything = read(explored, night).clips
    hiss, tones = (read(explored, f"{night}?label={label}").clips for label in ("hiss", "tone"))
    assert sorted(hiss + tones) == sorted(everything)
    assert hiss
    assert tones
    assert read(explored, f"{night}?name=HISS-2").clips == [explored.clip("hiss-2.wav")]
    assert len(read(explored, f"{night}?margin=0.2").clips) < len(everything)
    sure = read(explored, f"{night}?only=uncertain").clips
    summary = explored.nights[DAYS[-1]].summary
    assert len(sure) == summary.uncertain
    assert "No clip matches" in read(explored, f"{night}?label=none").text


def test_clips_set_aside_are_listed_by_reason(explored: Explored) -> None:
    page = read(explored, f"{explored.night}?show=aside")
    assert page.clips == [explored.clip("cut.wav"), explored.clip("silent.wav")]
    assert read(explored, f"{explored.night}?show=aside&reason=silent").clips == [explored.clip("silent.wav")]
    assert "Set aside at tokenize: silent." in read(explored, explored.clip("silent.wav")).text


def test_a_clip_shows_its_words_in_time_and_all_that_was_said(explored: Explored) -> None:
    page = read(explored, explored.clip("tone-3.wav"))
    starts = [float(a["data-start"] or 0) for tag, a in page.tags if tag == "button" and "data-start" in a]
    assert starts[0] == 0
    assert max(starts) < 1.2 <= max(starts) + 0.24
    assert len({round(later - start, 6) for start, later in pairwise(starts)}) == 1
    for said in ("nearest latents", "chance", "commonest label", "sounds@1", "prompt hash", "sha256"):
        assert said in page.text, said
    pictures = [a["src"] for tag, a in page.tags if tag == "img"]
    assert sum("demonstrations/" in (source or "") for source in pictures) == 4


@pytest.fixture
def heard(explored: Explored) -> Iterator[str]:
    """The address of a clip in which two sounds overlap, one of a name that a page must escape."""
    engine = create_engine(explored.database.url("owner"), poolclass=NullPool)
    uri = f"{explored.place}/tone-3.wav"
    with engine.begin() as connection:
        connection.execute(text(HEAR), {"uri": uri})
        for number, (label, start, end) in enumerate(EVENTS):
            given = {"number": number, "label": label, "start": start, "end": end}
            connection.execute(
                text("INSERT INTO events SELECT max(id), :number, :label, :start, :end, 0.8 FROM event_sets"),
                given,
            )
    yield explored.clip("tone-3.wav")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events"))
        connection.execute(text("DELETE FROM event_sets"))


def test_events_are_drawn_on_the_clips_time_axis_each_label_in_a_row(explored: Explored, heard: str) -> None:
    page = read(explored, heard)
    assert "Events of sounds, by class mean ears" in page.text
    for label, start, end in EVENTS:
        assert f"{label} 0.80, {start:.2f} to {end:.2f} s" in page.text
    bars = [a for tag, a in page.tags if tag == "rect" and a.get("class") == "tag"]
    assert [bar["y"] for bar in bars] == ["2", "24", "2"]
    left = [float(bar["x"] or 0) for bar in bars]
    assert left == sorted(left)
    (lane,) = [a for tag, a in page.tags if (a.get("aria-label") or "").startswith("Events of sounds")]
    assert "0.0 to 0.5 s tone" in (lane["aria-label"] or "")


@pytest.mark.parametrize(("labeler", "model"), [("class mean log-mel", "log-mel"), ("nearest latents", None)])
def test_the_nearest_demonstrations_are_those_that_the_labeler_compares(
    explored: Explored, labeler: str, model: str | None
) -> None:
    clip = int(explored.clip("hiss-1.wav").rpartition("/")[2])
    with session_scope(explored.engine) as session:
        found = get_clip(session, clip)
        assert found is not None
        assert found.content_sha256 is not None
        (answer, *_) = list_past_answers(session, found, limit=1)
        neighbors = neighbors_of(session, found.content_sha256, replace(answer, labeler=labeler))
    assert neighbors.model == model
    assert [one.shown.label for one in neighbors.nearest] == ["hiss", "hiss", "tone", "tone"]
    cosines = [one.cosine for one in neighbors.nearest]
    assert cosines == sorted(cosines, reverse=True)


def test_words_find_the_clips_that_have_them(explored: Explored) -> None:
    clip = explored.clip("hiss-1.wav")
    page = read(explored, clip)
    words = [
        (a["aria-label"] or "").partition(",")[0]
        for tag, a in page.tags
        if tag == "button" and "data-start" in a
    ]
    phrase = "+".join(words[1:4])
    found = read(explored, f"/search?words={phrase}")
    assert clip in found.clips
    assert f"{clip}?at=" in " ".join(found.links)
    assert clip in read(explored, f"/search?words={words[0]}+**+{words[-1]}&place={explored.place}").clips
    assert clip in read(explored, f"{explored.night}?words={phrase}").clips
    for address in ("/search", explored.night):
        assert 'no codec has the word "zzzyx"' in read(explored, f"{address}?words=zzzyx").text


def test_the_most_similar_clip_is_the_one_with_the_same_bytes(explored: Explored) -> None:
    clip = explored.clip("tone-2.wav")
    similar = read(explored, f"{clip}/similar")
    same = {explored.clip("tone-2.wav", day) for day in DAYS[:2]}
    assert set(similar.clips[1:3]) == same
    assert "Compared with" in similar.text


def test_a_map_has_every_clip_with_the_sign_of_its_label(explored: Explored) -> None:
    page = read(explored, f"{explored.night}/map")
    dots = [a for tag, a in page.tags if tag == "a" and "dot" in (a.get("class") or "")]
    assert len(dots) == 9 + len(HOSTILE)
    assert {dot["data-sign"] for dot in dots} == {"0", "1"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/clips/0", 404),
        (f"/clips/{2**80}", 404),
        ("/nights/none", 404),
        ("/nights/00000000-0000-0000-0000-000000000000", 404),
        ("/nights?prefix=/none&library=sounds", 404),
        ("/nights", 400),
        ("/clips", 400),
        ("/clips?place=ftp://x&library=a", 400),
        ("/search?words=" + "+".join(["a"] * 40), 400),
        ("/search?words=" + "a" * 4000, 400),
        ("/search?words=%00", 400),
        ("/nowhere", 404),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(explored: Explored, path: str, status: int) -> None:
    page = read(explored, path, status)
    assert "Back to the overview" in page.text


@pytest.mark.parametrize(
    "asked", ["margin=2", "margin=nan", "margin=x", "after=x", "after=0.1:y", "label=%00"]
)
def test_a_filter_that_is_none_is_refused(explored: Explored, asked: str) -> None:
    assert "Back to the overview" in read(explored, f"{explored.night}?{asked}", 400).text


def test_the_database_is_read_as_an_analyst(explored: Explored) -> None:
    with explored.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_user").scalar() == "wordwave_analyst"
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
