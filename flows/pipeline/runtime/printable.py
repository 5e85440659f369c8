"""Show text from outside as it is: keys and labels may hold what moves a cursor or reorders a line."""

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
    r"""Write each character that a terminal would obey instead of show as JSON does, such as \u001b.

    Within a JSON document these characters occur in strings alone, so it means the same afterwards.
    """
    return _COMMANDS.sub(lambda found: json.dumps(found[0])[1:-1], text)


class PrintableFormatter(logging.Formatter):
    """A formatter whose messages hold no terminal commands; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(printable, super().formatException(ei).split("\n")))
