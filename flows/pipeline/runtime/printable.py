"""Safe display of text from outside, in terminals and in pages for browsers.

Keys and labels may move a terminal's cursor, reorder a line or hide a part of it.
"""

import json
import logging
import re
from typing import Any

from flows.pipeline.configuration.credentials import CREDENTIAL, mask_url

_COMMANDS = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 with ESC and line feeds, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # bytes that are not UTF-8
)
ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts and emoji need."""


def printable(text: str) -> str:
    r"""Escape characters that a terminal would obey instead of showing, such as \u001b.

    A JSON document means the same afterwards, since these characters occur only in its strings.
    """
    return _COMMANDS.sub(lambda found: json.dumps(found[0])[1:-1], text)


class PrintableFormatter(logging.Formatter):
    """A formatter whose messages contain no terminal commands. A traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


def visible(text: str, longest: int, keep: str = "") -> str:
    """Return a text without secrets and invisible characters, cut to about `longest` characters.

    Addresses lose their passwords and queries. Invisible characters (controls, marks of writing direction,
    halves of surrogate pairs) are shown as their numbers, except those to `keep`.
    """
    text = re.sub(CREDENTIAL, "***", ADDRESS.sub(lambda found: mask_url(found[0]), text))
    if len(text) > longest:
        tail = longest // 4
        left_out = len(text) - longest
        text = f"{text[: longest - tail]} … {left_out} characters … {text[-tail:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in JOINERS + keep else f"⟨U+{ord(c):04X}⟩" for c in text)
