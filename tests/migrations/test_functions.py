"""The functions for analysts find what a naive reading finds, in bounds, and say what is wrong."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from db.bulk_insert import insert_new
from db.clips import add_clips, link_contents
from db.engine import session_scope
from db.libraries import LibraryDemonstration, import_library
from db.model_registry import ensure_codec
from db.models import Content, TokenSequence
from db.predictions import save_predictions
from db.promotions import ModelSet, promote
from db.tokens import _content_row, _sequence_row, save_tokens
from tests.db.rows import (
    FOLDER,
    clip_id,
    listed,
    make_codec,
    make_library,
    make_run,
    make_tokenized_clips,
    prediction,
    sha256,
    tokenized,
)
from tests.db.test_other_codecs import XCODEC2

Place = Sequence[int] | str
CODES = st.integers(0, 3)
GAPS = st.sampled_from(["", "*", "**", "* *", "** *"])


def store(engine: Engine, sequences: Sequence[Sequence[int]]) -> None:
    """Store clips named by their number, with these semantic codes."""
    names = [f"{number}.wav" for number in range(len(sequences))]
    with session_scope(engine) as session:
        codec_id, run_id = make_codec(session), make_run(session, "tokenize")
        add_clips(session, map(listed, names), FOLDER)
        contents = [tokenized(clip_id(session, name), name) for name in names]
        insert_new(session, Content, [_content_row(one) for one in contents])
        rows = [
            _sequence_row(one, codec_id, run_id)
            | {
                "semantic": list(codes),
                "levels": [0] * len(codes),
                "acoustic1": [0] * len(codes),
                "acoustic2": [0] * len(codes),
            }
            for one, codes in zip(contents, sequences, strict=True)
        ]
        insert_new(session, TokenSequence, rows)
        link_contents(session, {one.clip_id: one.sha256 for one in contents if one.clip_id})


def begins(codes: Sequence[int], places: Sequence[Place]) -> bool:
    """Whether codes begin with the places of a pattern, read one by one."""
    if not places:
        return True
    if places[0] == "**":
        return any(begins(codes[skipped:], places[1:]) for skipped in range(len(codes) + 1))
    if not codes:
        return False
    return (places[0] == "*" or codes[0] in places[0]) and begins(codes[1:], places[1:])


@st.composite
def patterns(draw: st.DrawFn) -> list[Place]:
    """Codes or alternatives with gaps between them."""
    groups = st.lists(CODES, min_size=1, max_size=2, unique=True)
    places: list[Place] = [draw(groups)]
    for _ in range(draw(st.integers(0, 3))):
        places += [*draw(GAPS).split(), draw(groups)]
    return places


def written(place: Place) -> str:
    return place if isinstance(place, str) else f"({'|'.join(map(str, place))})"


def test_codes_are_found_where_a_naive_reading_finds_them(engine: Engine, analyst: Connection) -> None:
    sequences = [
        [(number // 4**place) % 4 for place in range(1 + number % 6)] for number in range(0, 999, 13)
    ]
    store(engine, sequences)

    @settings(max_examples=40)
    @given(patterns())
    def check(places: list[Place]) -> None:
        query = text("SELECT uri, starts FROM find_codes(:pattern, most => 1000)")
        rows = analyst.execute(query, {"pattern": " ".join(map(written, places))})
        found = {uri: [round(start / 0.12) for start in starts] for uri, starts in rows}
        naive = {
            f"{FOLDER}/{number}.wav": at
            for number, codes in enumerate(sequences)
            if (at := [start for start in range(len(codes)) if begins(codes[start:], places)])
        }
        assert found == naive

    check()


def test_words_are_found_by_all_their_codes_and_in_bounds(engine: Engine, analyst: Connection) -> None:
    store(engine, [[0, 1, 2], [2, 1, 0], [3, 3, 3]])
    query = "SELECT uri FROM find_words('{}') ORDER BY uri"

    def found(pattern: str) -> str:
        return "".join(uri[-5] for (uri,) in analyst.execute(text(query.format(pattern))))

    assert [found(one) for one in ("dog", "dog * rain", "(dog|rain) cat", "bell bell", "bell ** dog")] == [
        "01", "0", "01", "2", ""
    ]  # fmt: skip
    assert len(analyst.execute(text("SELECT FROM find_words('cat', most => 1)")).all()) == 1
    assert analyst.execute(text("SELECT FROM find_words('cat', 's3://bucket/other')")).all() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("find_words('dog zebra')", 'no codec has the word "zebra"'),
        ("find_words('* dog')", "a pattern begins and ends with something"),
        ("find_words('dog **')", "a pattern begins and ends with something"),
        ("find_words('* **')", "a pattern begins and ends with something"),
        ("find_words('')", "a pattern begins and ends with something"),
        ("find_words('dog', most => 100000)", "most is 100000"),
        ("find_codes('1 dog')", '"dog" is no part of a pattern'),
        ("find_codes('(1|')", r'"\(1\|" is no part of a pattern'),
        ("find_codes('99999')", 'no codec has the code in "99999"'),
        ("find_codes('1 1 1 1 1 1 1 1 1 1 1 1 1')", "the pattern is too long"),
        ("similar_clips('s3://bucket/day/9.wav')", 'no tokenized clip is "s3://bucket/day/9.wav"'),
        ("similar_clips('s3://bucket/day/0.wav', 0)", "k is 0"),
        ("motifs('zebra')", 'no words of the label "zebra" are counted'),
        ("label_difference('dog', 'cat', most => 0)", "most is 0"),
        ("why('s3://bucket/day/0.wav', 'animals')", 'library "animals" has no answer about'),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_a_remedy(
    engine: Engine, analyst: Connection, call: str, message: str
) -> None:
    store(engine, [[0, 1, 2]])
    with pytest.raises(DBAPIError, match=message) as caught:
        analyst.execute(text(f"SELECT * FROM {call}")).all()
    assert "HINT" in str(caught.value.orig)


def test_similar_clips_are_those_that_share_most_pairs(engine: Engine, analyst: Connection) -> None:
    random = Random(5)
    sequences = [random.choices(range(4), k=random.randint(3, 9)) for _ in range(40)]
    store(engine, sequences)
    pairs = [set(pairwise(codes)) for codes in sequences]
    for number in range(5):
        rows = analyst.execute(text(f"SELECT uri, similarity FROM similar_clips('{FOLDER}/{number}.wav', 8)"))
        found = {int(uri.rpartition("/")[2][:-4]): similarity for uri, similarity in rows}
        naive = {
            other: len(pairs[number] & pairs[other]) / len(pairs[number] | pairs[other])
            for other in range(len(sequences))
            if other != number
        }
        assert list(found.values()) == pytest.approx(sorted(naive.values(), reverse=True)[:8])
        assert {other: naive[other] for other in found} == pytest.approx(found)


def test_why_leads_from_the_answer_down_to_the_bytes_the_prompt_and_the_run(
    engine: Engine, analyst: Connection
) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library = make_library(session, codec_id)
        promote(session, "label", ModelSet(library.id, codec_id, None))
        run_id = make_run(session, "label", library="animals@1", min_margin=0.1)
        save_predictions(session, run_id, [prediction("a.wav", library, codec_id, None, "cat")])
    rows = analyst.execute(text(f"SELECT part, fact, value FROM why('{FOLDER}/a.wav', 'animals')"))
    told = {(part, fact): value for part, fact, value in rows}
    expected = {
        ("answer", "label"): "cat",
        ("answer", "status"): "labeled",
        ("answer", "is_promoted"): "true",
        ("object version", "version_token"): "v1",
        ("object version", "content_sha256"): sha256("a.wav").hex(),
        ("library", "version"): "1",
        ("library", "demonstrations"): "1",
        ("prompt and models", "prompt_hash"): "ab",
        ("prompt and models", "codec_fingerprint"): "c0dec",
        ("labeler", "labeler"): "nearest",
        ("nearest demonstrations", "0 dog"): "similarity 1.000, file:///shot",
        ("run", "run"): str(run_id),
    }
    assert {key: told.get(key) for key in expected} == expected
    assert '"min_margin": 0.1' in told["run", "parameters"]


def test_the_functions_run_with_the_rights_of_who_calls_them(analyst: Connection) -> None:
    """But for the one that writes what a person decided, which says so and is no one's by default."""
    definers = analyst.scalars(
        text("SELECT proname FROM pg_proc WHERE pronamespace = 'analytics'::regnamespace AND prosecdef")
    )
    assert definers.all() == ["record_decision"]
    open_or_silent = analyst.scalars(
        text(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'analytics'::regnamespace"
            " AND (has_function_privilege('public', oid, 'EXECUTE')"
            " OR obj_description(oid, 'pg_proc') IS NULL)"
        )
    )
    assert open_or_silent.all() == []


def test_each_clip_has_its_nearest_demonstration_once_and_none_where_nothing_is_shared(
    engine: Engine, analyst: Connection
) -> None:
    store(engine, [[0, 1, 2, 3], [0, 1, 2], [2, 3], [5], [6, 7, 8]])
    with session_scope(engine) as session:
        codec_id, other_id = make_codec(session), make_codec(session, "other")
        shown = [
            LibraryDemonstration(sha256(f"{number}.wav"), f"l{number}", f"file:///{number}")
            for number in (1, 2)
        ]
        library = import_library(session, "animals", "label", None, shown)
        for number in (0, 1):
            twice = tokenized(None, f"{number}.wav")
            insert_new(session, TokenSequence, [_sequence_row(twice, other_id, make_run(session))])
        answers = [prediction(f"{number}.wav", library, codec_id, None) for number in (0, 3, 4)]
        save_predictions(session, make_run(session), answers)
    [day] = analyst.scalars(text("SELECT DISTINCT day FROM labels")).all()
    found = analyst.execute(
        text("SELECT uri, label, similarity FROM nearest_demonstrations('animals', :day)"), {"day": day}
    )
    assert [tuple(row) for row in found] == [(f"{FOLDER}/0.wav", "l1", 1.0)]


def test_a_clip_with_codes_that_are_too_wide_says_so(engine: Engine, analyst: Connection) -> None:
    store(engine, [[0, 1]])
    with session_scope(engine) as session:
        wide = ensure_codec(session, "wide", "wide", XCODEC2, [])
        add_clips(session, [listed("wide.wav")], FOLDER)
        row = replace(
            tokenized(clip_id(session, "wide.wav"), "wide.wav"), codes=([40_000, 3],), levels=[0, 0]
        )
        save_tokens(session, wide, make_run(session), [row])
    with pytest.raises(DBAPIError, match="go beyond 32767, and are not compared") as caught:
        analyst.execute(text(f"SELECT * FROM similar_clips('{FOLDER}/wide.wav')"))
    assert "similar_by_embedding" in str(caught.value.orig)
