"""Libraries are frozen versions; equal content is the same version."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.libraries import (
    LibraryDemonstration,
    LibraryNotFound,
    get_library,
    import_library,
    library_names,
    list_versions,
    previous_version_in_use,
    use_library,
    version_in_use,
)
from db.tokens import save_tokens
from tests.db.rows import make_codec, make_run, sha256, tokenized


@pytest.fixture
def rows(session: Session) -> list[LibraryDemonstration]:
    contents = ["bark", "meow", "purr"]
    save_tokens(session, make_codec(session), make_run(session), [tokenized(None, name) for name in contents])
    return [
        LibraryDemonstration(sha256(name), label, f"file:///{name}.wav")
        for name, label in zip(contents, ["dog", "cat", "cat"], strict=True)
    ]


def test_a_library_keeps_its_order(session: Session, rows: list[LibraryDemonstration]) -> None:
    made = import_library(session, "animals", "label", "Which animal?", rows[::-1])
    assert made.version == 1
    assert get_library(session, "animals") == made
    assert made.demonstrations == tuple(rows[::-1])
    assert made.instruction == "Which animal?"


def test_equal_content_is_the_version_that_is_there(
    session: Session, rows: list[LibraryDemonstration]
) -> None:
    first = import_library(session, "animals", "label", None, rows)
    second = import_library(session, "animals", "label", None, rows[:2])
    moved = [replace(row, uri=row.uri + ".moved") for row in rows]
    assert import_library(session, "animals", "label", None, moved) == first
    assert (first.version, second.version) == (1, 2)
    assert get_library(session, "animals", 2) == second
    assert get_library(session, "animals", 1) == first


def test_the_first_version_is_in_use_until_another_one_is_put_into_use(
    session: Session, rows: list[LibraryDemonstration]
) -> None:
    first = import_library(session, "animals", "label", None, rows)
    assert get_library(session, "animals") == first
    second = import_library(session, "animals", "label", None, rows[:2])
    assert get_library(session, "animals") == first
    assert use_library(session, "animals", 2) == get_library(session, "animals") == second
    assert import_library(session, "animals", "label", None, rows) == first
    assert get_library(session, "animals") == second
    third = import_library(session, "animals", "label", None, rows[1:], promote=True)
    assert get_library(session, "animals") == third
    import_library(session, "animals", "label", None, rows, promote=True)
    assert version_in_use(session, "animals") == 1
    assert previous_version_in_use(session, first) == third
    with pytest.raises(LibraryNotFound, match="no version 7"):
        use_library(session, "animals", 7)


def test_versions_are_listed_with_the_one_in_use(session: Session, rows: list[LibraryDemonstration]) -> None:
    import_library(session, "pets", "label", None, rows)
    import_library(session, "animals", "label", None, rows)
    import_library(session, "animals", "label", None, rows[:2])
    listed = [(one.name, one.version, one.demonstrations, one.is_in_use) for one in list_versions(session)]
    assert listed == [("animals", 2, 2, False), ("animals", 1, 3, True), ("pets", 1, 3, True)]


@pytest.mark.parametrize("change", ["order", "label", "instruction", "task"])
def test_whatever_can_change_an_answer_makes_a_version(
    session: Session, rows: list[LibraryDemonstration], change: str
) -> None:
    import_library(session, "animals", "label", None, rows)
    changed = {"order": rows[::-1], "label": [replace(rows[0], label="wolf"), *rows[1:]]}.get(change, rows)
    task = "sound" if change == "task" else "label"
    instruction = "Listen" if change == "instruction" else None
    assert import_library(session, "animals", task, instruction, changed).version == 2


def test_names_do_not_share_versions(session: Session, rows: list[LibraryDemonstration]) -> None:
    import_library(session, "animals", "label", None, rows)
    assert import_library(session, "pets", "label", None, rows).version == 1
    assert library_names(session) == ["animals", "pets"]


def test_an_unknown_library_is_told_with_its_nearest_name(
    session: Session, rows: list[LibraryDemonstration]
) -> None:
    with pytest.raises(LibraryNotFound, match="no library animal: import one first"):
        get_library(session, "animal")
    import_library(session, "animals", "label", None, rows)
    with pytest.raises(LibraryNotFound, match="no library animal: did you mean animals"):
        get_library(session, "animal")
    with pytest.raises(LibraryNotFound, match="no library xyz: there are animals"):
        get_library(session, "xyz")
    with pytest.raises(LibraryNotFound, match="no version 7: its versions are 1 to 1"):
        get_library(session, "animals", 7)


def test_a_library_needs_demonstrations_that_are_stored(session: Session) -> None:
    with pytest.raises(ValueError, match="at least one"):
        import_library(session, "empty", "label", None, [])
    with pytest.raises(IntegrityError, match="fk_demonstrations_content_sha256"):
        import_library(
            session, "ghosts", "label", None, [LibraryDemonstration(sha256("ghost"), "boo", "file:///g")]
        )


def test_a_noisy_content_is_answered_by_its_clean_one(
    session: Session, rows: list[LibraryDemonstration]
) -> None:
    noisy, clean, other = rows
    pair = LibraryDemonstration(noisy.content_sha256, None, noisy.uri, clean.content_sha256, clean.uri)
    made = import_library(session, "street", "denoise", None, [pair])
    assert get_library(session, "street") == made
    assert made.demonstrations == (pair,)
    assert made.contents == {noisy.uri: noisy.content_sha256, clean.uri: clean.content_sha256}
    changed = replace(pair, target_content_sha256=other.content_sha256)
    assert import_library(session, "street", "denoise", None, [changed]).version == 2


@pytest.mark.parametrize("changes", [{"target_uri": "file:///a"}, {"label": "dog"}])
def test_a_demonstration_has_one_answer(
    session: Session, rows: list[LibraryDemonstration], changes: dict[str, Any]
) -> None:
    pair = LibraryDemonstration(
        rows[0].content_sha256, None, "file:///a", rows[1].content_sha256, "file:///b"
    )
    wrong = replace(rows[0], **changes) if "target_uri" in changes else replace(pair, **changes)
    with pytest.raises(IntegrityError, match="ck_demonstrations_answer"):
        import_library(session, "street", "denoise", None, [wrong])
