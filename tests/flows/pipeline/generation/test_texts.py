"""Texts from files of three kinds: what is one is read, what is none is set aside with its line."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PromptError
from core.prompts.generation import check_text
from flows.pipeline.generation.texts import Texts, given_texts, read_texts, refused_lines
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import StorageRefused


def read(runtime: Runtime, folder: Path, name: str, content: str) -> Texts:
    (folder / name).write_text(content, newline="")
    return read_texts(runtime, str(folder / name))


def texts(found: Texts) -> list[tuple[int, str]]:
    return [(line.number, line.text) for line in found.lines]


def test_a_line_each(runtime: Runtime, folder: Path) -> None:
    found = read(runtime, folder, "texts.TXT", "one\r\n  two words \n\nthree")
    assert texts(found) == [(1, "one"), (2, "two words"), (3, ""), (4, "three")]


def test_the_column_text_of_a_table(runtime: Runtime, folder: Path) -> None:
    found = read(runtime, folder, "texts.csv", 'id,text\n1,one\n2,"two, ""words"""\n3\n4,four\n')
    assert texts(found) == [(2, "one"), (3, 'two, "words"'), (5, "four")]
    assert [one.number for one in found.refused] == [4]
    assert found.refused[0].reason.startswith("the line has 1 of 2 fields, the columns are 'id', 'text'")


def test_objects_with_a_text(runtime: Runtime, folder: Path) -> None:
    lines = [
        '{"text": "one"}',
        "",
        '{"text": 2, "id": 7}',
        "{broken",
        '{"test": "x"}',
        '["x"]',
        '{"text": null}',
    ]
    found = read(runtime, folder, "texts.jsonl", "\n".join(lines))
    assert texts(found) == [(1, "one"), (3, "2")]
    assert [(one.number, one.reason.partition(":")[0]) for one in found.refused] == [
        (4, "the line is not JSON"),
        (5, "the line has no text"),
        (6, "the line has no text"),
        (7, "the line has no text"),
    ]


@pytest.mark.parametrize("line", ['{"text": ' + "1" * 5_000 + "}", "[" * 100_000, '{"a": ' * 100_000])
def test_a_line_that_no_parser_takes_is_set_aside_alone(runtime: Runtime, folder: Path, line: str) -> None:
    found = read(runtime, folder, "texts.jsonl", f'{line}\n{{"text": "one"}}')
    assert texts(found) == [(2, "one")]
    assert [(one.number, one.reason.partition(":")[0]) for one in found.refused] == [
        (1, "the line is not JSON")
    ]


def test_refused_lines_are_kept_with_their_numbers_in_order(runtime: Runtime, folder: Path) -> None:
    found = read(runtime, folder, "texts.jsonl", '{"text": "a###"}\n{broken\n{"text": "fine"}\n{"text": ""}')
    accepted = found.accepted(check_text)
    assert texts(accepted) == [(3, "fine")]
    kept = [json.loads(line) for line in refused_lines(accepted.refused).splitlines()]
    assert [(row["number"], row["text"]) for row in kept] == [(1, "a###"), (2, "{broken"), (4, "")]


def test_a_refused_text_of_a_form_is_an_error() -> None:
    with pytest.raises(PromptError, match="the text is empty"):
        given_texts(["one", ""]).accepted(check_text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("texts.doc", "one", "name a .txt, .csv or .jsonl file"),
        ("texts.csv", "words\none\n", "no column text"),
        ("texts.csv", "text\n" + "a" * 200_000, "line 2 is not a row of a table: field larger"),
        ("texts.csv", "a" * 200_000 + "\none", "line 1 is not a row of a table: field larger"),
        ("texts.jsonl", "\n\n", "has 0 texts"),
        ("texts.txt", "a\n" * 10_001, "has 10001 texts, 1 to 10000"),
        ("texts.txt", "\n" * 30_000, "has 30000 texts, 1 to 10000"),
    ],
)
def test_a_file_that_holds_no_texts_is_refused(
    runtime: Runtime, folder: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        read(runtime, folder, name, content)


def test_a_file_outside_of_the_allow_list_is_not_read(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one")
    with pytest.raises(StorageRefused):
        read_texts(runtime, str(tmp_path / "texts.txt"))


def test_equal_texts_have_equal_digests_and_others_have_not() -> None:
    assert given_texts(["one", " two"]).sha256 == given_texts(["one", "two"]).sha256
    assert given_texts(["one", "two"]).sha256 != given_texts(["two", "one"]).sha256


LINES = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1)


@given(LINES)
def test_any_table_and_any_objects_give_the_texts_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "more"])
        writer.writeheader()
        writer.writerows({"text": line, "more": ""} for line in lines)
    from flows.pipeline.generation.texts import READERS

    for kind, content in {
        "csv": (folder / "texts.csv").read_text(encoding="utf-8"),
        "jsonl": "\n".join(json.dumps({"text": line}) for line in lines),
    }.items():
        assert [one.text for one in READERS[kind](content)] == [line.strip() for line in lines]
