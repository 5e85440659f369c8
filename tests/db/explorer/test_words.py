"""Words find what reading them one after another finds."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from db.explorer.clips import Scope
from db.explorer.words import GAP, WordHit, WordPattern, find_contents, find_words, parse_words
from tests.db.rows import FOLDER, make_tokenized_clips

SECONDS = 0.5


def begins_at(codes: list[int], pattern: list[int | None]) -> bool:
    """Whether the codes begin with the pattern, where None is one code or more."""
    if not pattern:
        return True
    if not codes:
        return False
    if pattern[0] is None:
        return begins_at(codes[1:], pattern[1:]) or begins_at(codes[1:], pattern)
    return codes[0] == pattern[0] and begins_at(codes[1:], pattern[1:])


@given(
    codes=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    pattern=st.lists(st.none() | st.integers(0, 12), min_size=1, max_size=5).filter(
        lambda words: words[0] is not None and words[-1] is not None
    ),
)
def test_places_are_those_where_the_words_begin(codes: list[int], pattern: list[int | None]) -> None:
    groups = [None if word is None else [word] for word in pattern]
    found = WordPattern({"c": groups}, {"c": SECONDS}, []).starts(WordHit(1, "a", 9.0, codes, "c"), 99)
    naive = [at for at in range(len(codes)) if begins_at(codes[at:], pattern)]
    places = [round(start / SECONDS) for start in found]
    assert places[:1] == naive[:1]
    assert set(places) <= set(naive)


def test_clips_are_found_by_words_and_gaps(session: Session) -> None:
    make_tokenized_clips(session, "a.wav", "b.wav")
    found = {
        words: [hit.uri for hit in find_words(session, parse_words(session, words.split()), scope, 9)]
        for scope in (None, Scope(FOLDER, ""))
        for words in ("dog rain", "rain dog", "dog", f"dog {GAP} rain")
    }
    both = [f"{FOLDER}/a.wav", f"{FOLDER}/b.wav"]
    assert found == {"dog rain": both, "rain dog": [], "dog": both, f"dog {GAP} rain": []}
    here, elsewhere = Scope(FOLDER, ""), Scope("s3://bucket/da", "")
    pattern = parse_words(session, ["dog", "rain"])
    assert len(find_contents(session, pattern, here, 9)) == 2
    assert find_contents(session, pattern, elsewhere, 9) == []


def test_a_word_that_no_codec_has_is_named(session: Session) -> None:
    make_tokenized_clips(session, "a.wav")
    pattern = parse_words(session, ["dog", GAP, "zebra"])
    assert pattern.unknown == ["zebra"]
    assert pattern.codes == {}
