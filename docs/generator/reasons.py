"""The page of reason codes, with what the page on operations says of each."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from core.errors import ReasonCode
from db.retries import PASSING_REASONS
from docs.generator.markdown import code, table

OPERATIONS = Path(__file__).parents[1] / "operations.md"
INTRODUCTION = """# Reason codes

The column `reason` of `analytics.quarantine`, and the field `reason` of a row that `wordwave label` prints.
[Operations](../operations.md#why-a-clip-is-refused) says what to do.
"""


def reasons_page() -> str:
    """Return the page of all reason codes. Raises KeyError for one that operations.md does not explain."""
    known = dict(explained_reasons())
    rows = (
        (code(reason), known[reason], "yes" if reason in PASSING_REASONS else "")
        for reason in get_args(ReasonCode)
    )
    return INTRODUCTION + "\n" + table(("reason", "the clip", "later nights try again"), rows)


def explained_reasons() -> Iterator[tuple[str, str]]:
    """Yield reason codes and what the table of operations.md says of them; one row may explain several."""
    text = OPERATIONS.read_text(encoding="utf-8").partition("## Why a clip is refused")[2]
    for names, clip in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) \|", text, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            yield name, clip
