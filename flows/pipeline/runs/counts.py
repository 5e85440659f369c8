"""Counts of what a stage did, which add up over batches."""

from collections import Counter
from collections.abc import Mapping

Counts = Counter[str]
"""Name -> number of clips, such as `tokenized`, `labeled` or `quarantined:silent`."""
WORDS = {"quarantined": "set aside", "same_bytes": "same bytes"}


def parts(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts in words and without overlap, so that they add up to the number of clips.

    Labeled clips exclude doubtful answers, and clips set aside are counted by reason. Names may begin with
    their stage.
    """
    reasons = {name.rpartition(":")[0] for name in counts if ":" in name}
    return {
        _in_words(name): number - (counts.get(f"{name[:-7]}uncertain", 0) if _is_labeled(name) else 0)
        for name, number in counts.items()
        if name not in reasons
    }


def sentence(counts: Mapping[str, int]) -> str:
    """Return the counts of a stage, or of a run by stage, as a list in words."""
    return ", ".join(
        f"{number:,} {name.rpartition('.')[2]}" for name, number in parts(counts).items() if number
    )


def _is_labeled(name: str) -> bool:
    return name.rpartition(".")[2] == "labeled"


def _in_words(name: str) -> str:
    stage, dot, what = name.rpartition(".")
    what, colon, reason = what.partition(":")
    if what == "uncertain":
        what = "doubtful"
    what = WORDS.get(what, what).replace("_", " ")
    return f"{stage}{dot}{what}{': ' if colon else ''}{reason}"
