"""Texts from outside, made harmless for markdown pages and table cells."""

import html

from flows.pipeline.runtime.printable import printable

SPACES = {ord(sign): " " for sign in "\n\r"}

NO_WIDTH = "\u200b"

MARKUP = {ord(sign): f"&#{ord(sign)};" for sign in "|`[]\\"} | SPACES
"""What markdown would take for more than text."""


def escape(text: str) -> str:
    """Return a text in which markup, links, images, table cells, code and terminal codes have no effect."""
    return printable(html.escape(text).translate(MARKUP))


def cell(text: str) -> str:
    """Return a text for a cell of a table, which one UI shows as it is and the older one reads as markdown.

    Tags and links are broken by a space without width: HTML entities would be shown.
    """
    return printable(text.translate(SPACES)).replace("<", f"<{NO_WIDTH}").replace("]", f"]{NO_WIDTH}")


def code(text: str) -> str:
    """Return a text to put between backticks, where HTML entities would be shown."""
    return printable(text.translate(SPACES)).replace("`", "'")
