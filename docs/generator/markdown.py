"""Tables and text as Markdown."""

import re
from collections.abc import Iterable, Sequence


def escaped(text: str) -> str:
    """Return text on one line with nothing but its `code` left to Markdown."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(code(piece[1:-1]) if piece[:1] == "`" else _plain(piece) for piece in pieces)


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text)


def code(text: str) -> str:
    """Return text as code; a bar would end the cell of a table."""
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
