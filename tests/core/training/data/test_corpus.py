from pathlib import Path

from core.training.data.corpus import CHARACTERS, read_word_list, sentences


def test_the_word_list_is_large_and_plain() -> None:
    words = read_word_list()
    every = {word for listed in words.values() for word in listed}
    assert len(every) >= 2000
    assert all(word.isascii() and word.replace("_", "").isalpha() for word in every)


def test_no_kind_lists_a_word_twice() -> None:
    for listed in read_word_list().values():
        assert len(set(listed)) == len(listed)


def test_remarks_and_empty_kinds_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# remark\n[noun]\nhouse\n# another\ntree\n\n[verb]\n")
    assert read_word_list(path) == {"noun": ("house", "tree")}


def test_equal_seeds_give_equal_sentences_and_other_seeds_others() -> None:
    words = read_word_list()
    first, again, other = (list(sentences(words, seed, count=100)) for seed in (1, 1, 2))
    assert first == again != other


def test_every_word_occurs_and_no_line_holds_a_newline_or_a_blank_to_fill() -> None:
    words = read_word_list()
    lines = list(sentences(words, 0, count=1000))
    assert {word for listed in words.values() for word in listed} <= set(lines)
    assert not any("\n" in line for line in lines)
    assert not any("{" in line for line in lines if line != CHARACTERS)
