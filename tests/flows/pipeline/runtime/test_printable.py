"""Nothing that comes from outside moves a cursor, reorders a line or begins a new one."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.artifacts.markdown import escape
from flows.pipeline.runtime.printable import PrintableFormatter, printable

HOSTILE = [
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\nlabeled  forged", "\r", "\x7f", "\x00", "\x85",
    "\u202egpj.exe", "\u2066", "\u200f", "\u061c", "\u2028", "\u2029", "\udc80", "\t",
]  # fmt: skip
HARMLESS = ["dog, barking", "犬", "é", "e\u0301", "👩\u200d🔬", "می\u200cخواهم", "C:\\temp", "100 %", ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_commands_are_shown_and_not_obeyed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == text
    assert escape(text).isprintable()


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters()))
def test_json_means_the_same_afterwards(text: str) -> None:
    document = json.dumps({"uri": text}, ensure_ascii=False)
    assert json.loads(printable(document)) == {"uri": text}
    assert printable(printable(text)) == printable(text)


def test_a_log_line_is_one_line_and_a_traceback_keeps_its_own() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("flows", logging.WARNING, "", 0, "key %s", ("a\nERROR forged\x1b",), error)
    first, *rest = PrintableFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == "WARNING key a\\nERROR forged\\u001b"
    assert rest[0].startswith("Traceback")
    assert "\x1b" not in "".join(rest)
