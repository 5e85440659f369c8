"""Safe display of text from outside: keys and labels may move a terminal's cursor or reorder a line."""

import json
import logging
import re
from typing import Any

_COMMANDS = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 with ESC and line feeds, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # bytes that are not UTF-8
)


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
