"""Words find what reading them one after another finds."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session

from db.explorer.clips import Scope
from db.explorer.words import EVERYWHERE, BadPattern, find_contents, find_words
from tests.db.rows import FOLDER, make_tokenized_clips

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


def test_clips_are_found_by_words_and_gaps(session: Session) -> None:
    make_tokenized_clips(session, "a.wav", "b.wav")
    found = {
        words: [(hit.uri, hit.starts) for hit in find_words(session, words, scope, 9)]
        for scope in (EVERYWHERE, Scope(FOLDER, ""))
        for words in ("dog rain", "rain dog", "dog", "dog * rain", "dog ** rain", "(rain|bell)")
    }
    both, behind = ([(f"{FOLDER}/{name}.wav", [start]) for name in "ab"] for start in (0.0, 0.12))
    assert found == {
        "dog rain": both,
        "rain dog": [],
        "dog": both,
        "dog * rain": [],
        "dog ** rain": both,
        "(rain|bell)": behind,
    }


def test_contents_are_those_below_a_folder_and_of_a_time(session: Session) -> None:
    make_tokenized_clips(session, "a.wav", "b.wav")
    here, elsewhere, later = Scope(FOLDER, ""), Scope("s3://bucket/da", ""), Scope(FOLDER, "", NEW_YEAR)
    counts = [len(find_contents(session, "dog rain", scope, 9)) for scope in (here, elsewhere, later)]
    assert counts == [2, 0, 0]


def test_a_word_that_no_codec_has_is_named_and_the_transaction_goes_on(session: Session) -> None:
    make_tokenized_clips(session, "a.wav")
    with pytest.raises(BadPattern, match='no codec has the word "zebra"'):
        find_words(session, "dog * zebra", EVERYWHERE, 9)
    assert len(find_words(session, "dog", EVERYWHERE, 9)) == 1
