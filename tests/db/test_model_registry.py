"""A fingerprint is registered once, with the words of its codebooks."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.engine import make_engine, session_scope
from db.model_registry import ensure_codec, ensure_llm
from db.models import CodebookWord, Codec
from tests.db.rows import CONFIG, make_codec, make_llm


def test_a_codec_knows_its_words_and_how_much_audio_a_code_spans(session: Session) -> None:
    codec_id = make_codec(session)
    codec = session.get_one(Codec, codec_id)
    assert codec.code_samples == [1920, 960, 480]
    assert codec.codebook_sizes == [4, 8, 8]
    word = select(CodebookWord.word).where(CodebookWord.layer == 0, CodebookWord.code == 2)
    assert session.scalars(word).all() == ["rain"]


def test_a_codec_may_have_no_words_for_a_layer(session: Session) -> None:
    ensure_codec(session, "silent", "tiny", CONFIG, ([], ["a"], ["'; DROP TABLE clips; --"]))
    words = session.execute(select(CodebookWord.layer, CodebookWord.word))
    assert [tuple(row) for row in words] == [
        (1, "a"),
        (2, "'; DROP TABLE clips; --"),
    ]


def test_the_same_fingerprint_is_the_same_row(session: Session) -> None:
    assert make_codec(session) == make_codec(session) != make_codec(session, "other")
    assert make_llm(session) == make_llm(session) != make_llm(session, "other")
    assert ensure_llm(session, "11a3a", "another name") == make_llm(session)


def test_processes_that_register_at_once_get_one_codec(database_url: str) -> None:
    engine = make_engine(database_url)

    def register(_: int) -> int:
        with session_scope(engine) as session:
            return make_codec(session)

    with ThreadPoolExecutor(6) as threads:
        ids = set(threads.map(register, range(6)))
    with session_scope(engine) as session:
        assert session.scalar(select(func.count()).select_from(CodebookWord)) == 20
    engine.dispose()
    assert len(ids) == 1
