"""Codes of codecs with other layers than the LLM-Codec are stored whole and found; old rows stay."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.engine import make_engine, session_scope
from db.model_registry import ensure_codec
from db.run_outputs import sample_tokens
from db.tokens import get_token_sequences, save_tokens
from db.word_counts import START, uncounted_sequences
from migrations.upgrade import downgrade, upgrade
from tests.db.rows import listed, make_codec, make_run, make_tokenized_clips, sha256, tokenized
from tests.fixtures_postgres import Database

MIMI = {"sample_rate": 24_000, "codebook_sizes": [2048] * 4, "hop_length": 1920}
XCODEC2 = {"sample_rate": 16_000, "codebook_sizes": [65_536], "hop_length": 320}
LAYERS: dict[str, Sequence[Sequence[int]]] = {
    "mimi": ([7, 2047, 7], [0, 1, 2], [3, 4, 5], [6, 7, 8]),
    "xcodec2": ([40_000, 65_535, 3],),
}


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        yield session
    engine.dispose()


def save(session: Session, name: str, config: dict[str, Any], layers: Sequence[Sequence[int]]) -> int:
    """Write a clip's codes, and return the codec."""
    words = [[f"w{code}" for code in range(10)]] if name == "mimi" else []
    codec_id = ensure_codec(session, name, name, config, words)
    make_tokenized_clips(session, "a.wav")
    row = replace(tokenized(None, "a.wav"), codes=layers, levels=[-200] * len(layers[0]))
    save_tokens(session, codec_id, make_run(session), [row])
    return codec_id


@pytest.mark.parametrize(("name", "config"), [("mimi", MIMI), ("xcodec2", XCODEC2)])
def test_every_layer_comes_back_as_it_was(session: Session, name: str, config: dict[str, Any]) -> None:
    codec_id = save(session, name, config, LAYERS[name])
    stored = get_token_sequences(session, codec_id, [sha256("a.wav")])[sha256("a.wav")]
    assert stored.codes == tuple(map(tuple, LAYERS[name]))
    assert stored.codes_per_first == (1,) * len(LAYERS[name])


def test_a_run_is_verified_by_all_layers(session: Session) -> None:
    save(session, "mimi", MIMI, LAYERS["mimi"])
    [run_id] = session.scalars(text("SELECT run_id FROM token_sequences WHERE codes IS NOT NULL"))
    [sample] = sample_tokens(session, run_id, 10)
    assert sample.codes == tuple(map(tuple, LAYERS["mimi"]))


def test_the_rows_of_an_llm_codec_are_what_they_were(session: Session) -> None:
    make_tokenized_clips(session, "a.wav")
    columns = "semantic, acoustic1, acoustic2, codes"
    [row] = session.execute(text(f"SELECT {columns} FROM token_sequences"))
    assert [len(layer) for layer in row[:3]] == [2, 4, 8]
    assert row.codes is None


def test_the_view_of_codes_has_every_layer_with_its_time_and_word(session: Session) -> None:
    save(session, "mimi", MIMI, LAYERS["mimi"])
    rows = session.execute(
        text(
            "SELECT layer, position, code, word, start_s FROM analytics.codes WHERE codec = 'mimi' "
            "ORDER BY layer, position"
        )
    ).all()
    assert [row.code for row in rows] == [code for layer in LAYERS["mimi"] for code in layer]
    assert rows[0] == (0, 0, 7, "w7", 0.0)
    assert rows[-1] == (3, 2, 8, None, pytest.approx(0.16))
    of_words = "SELECT layer, position, code, word, start_s FROM analytics.words ORDER BY 1, 2"
    same = of_words.replace("analytics.words", "analytics.codes WHERE codec = 'tiny'")
    of_words = of_words.replace("analytics.words", "analytics.words WHERE codec = 'tiny'")
    assert session.execute(text(of_words)).all() == session.execute(text(same)).all()


@pytest.mark.parametrize(
    ("pattern", "starts"),
    [("7 2047", [0.0]), ("7 * 7", [0.0]), ("2047 ** 7", [0.08]), ("(7|3)", [0.0, 0.16]), ("7 7", None)],
)
def test_codes_of_a_small_first_layer_are_found(
    session: Session, pattern: str, starts: list[float] | None
) -> None:
    save(session, "mimi", MIMI, LAYERS["mimi"])
    assert found(session, pattern, "mimi") == ([] if starts is None else [pytest.approx(starts)])


@pytest.mark.parametrize(
    ("pattern", "starts"),
    [
        ("40000", [0.0]),
        ("40000 65535", [0.0]),
        ("65535 3", [0.02]),
        ("40000 * 3", [0.0]),
        ("(1|3)", [0.04]),
        ("3 40000", None),
    ],
)
def test_codes_above_32767_are_found(session: Session, pattern: str, starts: list[float] | None) -> None:
    save(session, "xcodec2", XCODEC2, LAYERS["xcodec2"])
    assert found(session, pattern, "xcodec2") == ([] if starts is None else [pytest.approx(starts)])


def found(session: Session, pattern: str, codec: str) -> list[list[float]]:
    question = text("SELECT starts FROM analytics.find_codes(:pattern, :codec)")
    return list(session.scalars(question, {"pattern": pattern, "codec": codec}))


def test_their_index_is_used(session: Session) -> None:
    session.execute(text("SET LOCAL enable_seqscan = off"))
    question = "EXPLAIN SELECT FROM analytics.sequences s WHERE s.semantic IS NULL AND s.wide && ARRAY[40000]"
    assert "ix_token_sequences_wide" in "".join(session.scalars(text(question)))


def test_words_are_counted_where_the_first_layer_is_small(session: Session) -> None:
    save(session, "xcodec2", XCODEC2, LAYERS["xcodec2"])
    assert {len(one.codes) for one in uncounted_sequences(session, START, 10)} == {2}


@pytest.mark.parametrize(
    ("codes", "semantic"),
    [("{1,2,3,4}", None), ("{-1,2,3}", None), ("{}", None), (None, None), ("{1,2,3}", "{1,2}")],
)
def test_rows_of_no_codec_are_refused(session: Session, codes: str | None, semantic: str | None) -> None:
    save(session, "xcodec2", XCODEC2, LAYERS["xcodec2"])
    other = ensure_codec(session, "other", "other", XCODEC2, [])
    insert = text(
        "INSERT INTO token_sequences (content_sha256, codec_id, levels, run_id, codes, semantic) "
        "SELECT content_sha256, :other, levels, run_id, CAST(:codes AS integer[]), "
        "CAST(:semantic AS smallint[]) FROM token_sequences WHERE codes IS NOT NULL"
    )
    with pytest.raises(IntegrityError, match="ck_token_sequences"):
        session.execute(insert, {"other": other, "codes": codes, "semantic": semantic})
    session.rollback()


def test_the_older_schema_comes_back_once_no_other_codec_has_codes(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        make_codec(session)
        make_tokenized_clips(session, "a.wav")
        assert listed("a.wav").size == 1000
    downgrade(database.url("owner"), "20261201_comparisons")
    with session_scope(engine) as session:
        assert session.scalar(text("SELECT count(*) FROM analytics.find_codes('0')")) is not None
    upgrade(database.url("owner"))
    engine.dispose()
