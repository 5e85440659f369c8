"""Safe display of text from outside in pages for browsers."""

import re

from flows.pipeline.configuration.credentials import CREDENTIAL, mask_url

ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts and emoji need."""


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
