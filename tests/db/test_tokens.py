"""Tokens are stored once per content and codec, whoever writes them and however often."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.engine import make_engine, session_scope
from db.models import Clip, Content, PooledLatent, TokenSequence
from db.tokens import (
    TokenizedContent,
    _packed,
    contents_with_latents,
    contents_with_tokens,
    get_token_sequences,
    save_tokens,
)
from tests.db.rows import (
    FOLDER,
    clip_id,
    listed,
    make_codec,
    make_run,
    save_without_latent,
    sha256,
    tokenized,
)


def test_what_is_saved_is_what_comes_back(session: Session) -> None:
    codec_id, run_id = make_codec(session), make_run(session)
    add_clips(session, [listed("a.wav")], FOLDER)
    save_tokens(session, codec_id, run_id, [tokenized(clip_id(session, "a.wav"), "bytes", blocks=3)])
    stored = get_token_sequences(session, codec_id, [sha256("bytes"), sha256("unknown")])
    assert list(stored) == [sha256("bytes")]
    tokens = stored[sha256("bytes")]
    assert tokens.codes == ((0, 2) * 3, (1,) * 12, (7,) * 24)
    assert tokens.levels == (-200, -123) * 3
    assert tokens.duration == 3 * 1920 / 8000
    assert tokens.latent == ((1.5, -2.0), (0.25, 0.0))
    assert session.scalar(select(Clip.content_sha256)) == sha256("bytes")


def test_a_latent_comes_back_in_half_precision(session: Session) -> None:
    codec_id, run_id = make_codec(session), make_run(session)
    latent = ([1 / 3, -65504.0], [2**-20, 0.1])
    save_tokens(session, codec_id, run_id, [_with(tokenized(None, "a"), latent=latent)])
    stored = get_token_sequences(session, codec_id, [sha256("a")])[sha256("a")]
    assert stored.latent == tuple(tuple(np.array(row, np.float16).tolist()) for row in latent)
    octets = func.octet_length(PooledLatent.mean) + func.octet_length(PooledLatent.deviation)
    assert session.scalar(select(octets)) == 8


def test_tokens_without_a_latent_are_read_without_and_filled_in_by_saving_again(session: Session) -> None:
    codec_id, run_id = make_codec(session), make_run(session)
    old = tokenized(None, "a")
    save_without_latent(session, codec_id, run_id, old)
    assert get_token_sequences(session, codec_id, [old.sha256])[old.sha256].latent is None
    assert contents_with_tokens(session, codec_id, [old.sha256]) == {old.sha256}
    assert contents_with_latents(session, codec_id, [old.sha256]) == set()
    save_tokens(session, codec_id, make_run(session, attempt=2), [old])
    assert get_token_sequences(session, codec_id, [old.sha256])[old.sha256].latent == (
        (1.5, -2.0),
        (0.25, 0.0),
    )
    assert contents_with_latents(session, codec_id, [old.sha256]) == {old.sha256}
    assert set(session.scalars(select(TokenSequence.run_id))) == {run_id}


@pytest.mark.parametrize("latent", [([], []), ([1.0, 2.0], [0.5])])
def test_a_latent_has_as_many_deviations_as_means(
    session: Session, latent: tuple[list[float], list[float]]
) -> None:
    wrong = _with(tokenized(None, "a"), latent=latent)
    with pytest.raises(IntegrityError, match="ck_pooled_latents_lengths"):
        save_tokens(session, make_codec(session), make_run(session), [wrong])


def _with(plain: TokenizedContent, **changes: Any) -> TokenizedContent:
    return replace(plain, **changes)


def test_codes_and_levels_may_come_as_numpy_integers(session: Session) -> None:
    codec_id, run_id = make_codec(session), make_run(session)
    plain = tokenized(None, "bytes")
    layers = [np.array(layer, dtype=np.int16) for layer in plain.codes]
    numpy = TokenizedContent(
        **vars(plain) | {"codes": tuple(layers), "levels": np.array(plain.levels, dtype=np.int16)}
    )
    save_tokens(session, codec_id, run_id, [numpy])
    assert get_token_sequences(session, codec_id, [plain.sha256])[plain.sha256].codes[0] == (0, 2)


def test_saving_again_changes_nothing_and_keeps_the_first_run(session: Session) -> None:
    codec_id, first = make_codec(session), make_run(session, attempt=1)
    batch = [tokenized(None, "a"), tokenized(None, "a"), tokenized(None, "b")]
    save_tokens(session, codec_id, first, batch)
    save_tokens(session, codec_id, make_run(session, attempt=2), batch)
    assert session.scalar(select(func.count()).select_from(Content)) == 2
    assert set(session.scalars(select(TokenSequence.run_id))) == {first}
    assert contents_with_tokens(session, codec_id, [sha256("a"), sha256("c")]) == {sha256("a")}
    assert contents_with_tokens(session, codec_id, []) == set()


@pytest.mark.parametrize(
    ("codes", "levels"),
    [
        pytest.param(([0, 1], [1] * 3, [1] * 8), [-1, -1], id="acoustic1 is no multiple"),
        pytest.param(([0, 1], [1] * 4, [1] * 9), [-1, -1], id="acoustic2 is no multiple"),
        pytest.param(([0, 1], [1] * 4, []), [-1, -1], id="a layer is empty"),
        pytest.param(([0, 1], [1] * 4, [1] * 8), [-1], id="a level is missing"),
        pytest.param(([0, -1], [1] * 4, [1] * 8), [-1, -1], id="a code is negative"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(
    session: Session, codes: tuple[list[int], list[int], list[int]], levels: list[int]
) -> None:
    wrong = TokenizedContent(**vars(tokenized(None, "a")) | {"codes": codes, "levels": levels})
    with pytest.raises(IntegrityError, match="ck_token_sequences"):
        save_tokens(session, make_codec(session), make_run(session), [wrong])


def test_threads_that_save_overlapping_batches_lose_and_double_nothing(database_url: str) -> None:
    engine = make_engine(database_url)
    names = [f"{number:03}.wav" for number in range(60)]
    with session_scope(engine) as session:
        codec_id, run_id = make_codec(session), make_run(session)
        add_clips(session, map(listed, names), FOLDER)
        ids = {name: clip_id(session, name) for name in names}

    def save(order: int) -> None:
        rotated = names[order * 7 :] + names[: order * 7]
        with session_scope(engine) as session:
            batch = [tokenized(ids[name], f"content of {name[:2]}") for name in rotated]
            save_tokens(session, codec_id, run_id, batch)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(8)))
    with session_scope(engine) as session:
        assert session.scalar(select(func.count()).select_from(TokenSequence)) == 6
        assert session.scalar(select(func.count()).select_from(PooledLatent)) == 6
        assert session.scalar(select(func.count()).where(Clip.content_sha256.is_not(None))) == 60
    engine.dispose()


@pytest.mark.parametrize("half", [np.inf, -np.inf, np.nan, -np.nan])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("row", [0, 1])
def test_a_latent_that_is_not_finite_is_refused(session: Session, half: float, place: int, row: int) -> None:
    latent = [[1.0, -65504.0, 3.0], [0.0, 65504.0, 6e-8]]
    latent[row][place] = half
    with pytest.raises(IntegrityError, match="ck_pooled_latents_finite"):
        save_tokens(
            session, make_codec(session), make_run(session), [_with(tokenized(None, "a"), latent=latent)]
        )


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_every_finite_number_of_half_precision_passes(numbers: list[float]) -> None:
    pattern = re.compile("^(....)*..[7f][c-f]")
    assert not pattern.search(_packed(numbers).hex())
    assert pattern.search(_packed([*numbers, np.inf]).hex())
