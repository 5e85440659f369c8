"""Embeddings are stored once per content and model, beside the codes and in their transaction."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.clips import add_clips, clips_to_tokenize
from db.embeddings import (
    ContentEmbedding,
    NewEmbeddingModel,
    contents_with_embeddings,
    ensure_embedding_model,
    get_embeddings,
)
from db.models import Content, Embedding, SoundTags, WindowEmbeddings
from db.recheck import discard_tokens
from db.tokens import TokenizedContent, _content_row, save_tokens
from tests.db.rows import FOLDER, clip_id, listed, make_codec, make_run, sha256, tokenized

TAGGER = NewEmbeddingModel("f1", "tiny-tagger", 3, 0.96, 0.48, "CC0-1.0", ("Dog", "Rain, light", "Speech"))
WINDOWS = struct.pack("<6e", *range(6))
TAGS = ((0, 2, 0.75), (0, 0, 0.5), (1, 1, 0.25))


def _embedded(content: str, *models: int, clip: int | None = None) -> TokenizedContent:
    embeddings = [
        ContentEmbedding(model, (1 / 3, -2.0, 0.0), (0.5, 0.25, 0.75), TAGS, WINDOWS) for model in models
    ]
    return replace(tokenized(clip, content), embeddings=embeddings)


def test_a_model_is_registered_once_by_its_fingerprint(session: Session) -> None:
    model_id = ensure_embedding_model(session, TAGGER)
    assert ensure_embedding_model(session, replace(TAGGER, name="other")) == model_id
    assert ensure_embedding_model(session, replace(TAGGER, fingerprint="f2")) != model_id


def test_an_embedding_comes_back_in_single_precision(session: Session) -> None:
    codec_id, model_id = make_codec(session), ensure_embedding_model(session, TAGGER)
    save_tokens(session, codec_id, make_run(session), [_embedded("a", model_id), tokenized(None, "b")])
    stored = get_embeddings(session, model_id, [sha256("a"), sha256("b")])
    assert list(stored) == [sha256("a")]
    expected = np.array([1 / 3, -2.0, 0.0], np.float32)
    assert np.array_equal(np.array(stored[sha256("a")].embedding, np.float32), expected)


def test_every_single_precision_number_survives(session: Session) -> None:
    drawn = np.random.default_rng(0).integers(0, 2**32, 3_000, np.uint32).view(np.float32)
    numbers = drawn[np.isfinite(drawn)]
    many = replace(TAGGER, dimensions=len(numbers))
    codec_id, model_id = make_codec(session), ensure_embedding_model(session, many)
    one = replace(_embedded("a"), embeddings=[ContentEmbedding(model_id, numbers.tolist(), None, ())])
    save_tokens(session, codec_id, make_run(session), [one])
    stored = np.array(get_embeddings(session, model_id, [sha256("a")])[sha256("a")].embedding, np.float32)
    assert np.array_equal(stored, numbers)


def test_saving_again_leaves_what_is_stored(session: Session) -> None:
    codec_id, model_id = make_codec(session), ensure_embedding_model(session, TAGGER)
    first = make_run(session)
    save_tokens(session, codec_id, first, [_embedded("a", model_id)])
    save_tokens(session, codec_id, make_run(session, attempt=2), [_embedded("a", model_id)])
    assert session.scalars(select(Embedding.run_id)).all() == [first]
    assert session.scalar(select(func.count()).select_from(SoundTags)) == 1


def test_a_clip_waits_until_it_has_an_embedding_of_every_model(session: Session) -> None:
    codec_id, run_id = make_codec(session), make_run(session)
    one = ensure_embedding_model(session, TAGGER)
    two = ensure_embedding_model(session, replace(TAGGER, fingerprint="f2"))
    add_clips(session, [listed("a.wav")], FOLDER)
    clip = clip_id(session, "a.wav")
    for models, still_waits in (((), {one, two}), ((one,), {two}), ((one, two), set())):
        save_tokens(session, codec_id, run_id, [_embedded("a", *models, clip=clip)])
        for asked in ((one,), (two,), (one, two)):
            waits = bool(clips_to_tokenize(session, FOLDER, codec_id, asked))
            is_complete = bool(contents_with_embeddings(session, asked, [sha256("a")]))
            assert waits is not is_complete is not bool(still_waits & set(asked))
        assert clips_to_tokenize(session, FOLDER, codec_id) == []
    assert contents_with_embeddings(session, [one, two], [sha256("a"), sha256("b")]) == {sha256("a")}


@pytest.mark.parametrize("numbers", [(), (0.5, float("nan"))])
def test_an_embedding_of_no_numbers_is_refused(session: Session, numbers: tuple[float, ...]) -> None:
    model_id = ensure_embedding_model(session, TAGGER)
    wrong = replace(_embedded("a"), embeddings=[ContentEmbedding(model_id, numbers, None, ())])
    with pytest.raises(IntegrityError, match="ck_embeddings_embedding"):
        save_tokens(session, make_codec(session), make_run(session), [wrong])


def test_analysts_see_which_class_was_heard_when(session: Session) -> None:
    codec_id, model_id = make_codec(session), ensure_embedding_model(session, TAGGER)
    add_clips(session, [listed("a.wav")], FOLDER)
    one = _embedded("a", model_id, clip=clip_id(session, "a.wav"))
    save_tokens(session, codec_id, make_run(session), [one])
    tags = session.execute(
        text(
            "SELECT start_s, end_s, class, score FROM analytics.sound_tags"
            " WHERE model = 'tiny-tagger' ORDER BY start_s, score DESC"
        )
    )
    assert [tuple(row) for row in tags] == [
        (0.0, 0.96, "Speech", 0.75),
        (0.0, 0.96, "Dog", 0.5),
        (0.48, 1.44, "Rain, light", 0.25),
    ]
    (embedding,) = session.execute(text("SELECT uri, embedding FROM analytics.embeddings")).all()
    assert embedding.uri == f"{FOLDER}/a.wav"
    assert embedding.embedding[1:] == [-2.0, 0.0]


def test_what_is_discarded_of_a_content_takes_its_embeddings_along(session: Session) -> None:
    codec_id, model_id = make_codec(session), ensure_embedding_model(session, TAGGER)
    unchecked = tokenized(None, "old")
    session.execute(insert(Content).values(_content_row(unchecked) | {"checks": 0}))
    both = [_embedded("old", model_id), _embedded("new", model_id)]
    save_tokens(session, codec_id, make_run(session), both)
    discard_tokens(session, [sha256("old"), sha256("new")])
    assert contents_with_embeddings(session, [model_id], [sha256("old"), sha256("new")]) == {sha256("new")}
    for table in (SoundTags, WindowEmbeddings):
        assert session.scalars(select(table.content_sha256)).all() == [sha256("new")]
