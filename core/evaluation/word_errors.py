"""How many words of a text were heard wrong."""

import re
from collections.abc import Sequence

NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)


def words(text: str) -> list[str]:
    """Return the words of a text as they are compared: lower case, without marks, numbers to 12 in words.

    Whoever writes down speech may write 7 for seven, which is no error.
    """
    found = re.findall(r"[a-z0-9']+", text.lower())
    return [NUMBERS[int(one)] if one.isdecimal() and int(one) < len(NUMBERS) else one for one in found]


def word_errors(reference: str, heard: str) -> int:
    """Return the fewest words to insert, leave out or exchange that make one text the other."""
    wanted, given = words(reference), words(heard)
    row = list(range(len(given) + 1))
    for number, word in enumerate(wanted, start=1):
        before, row[0] = row[0], number
        for at, other in enumerate(given, start=1):
            exchanged = before + (word != other)
            before = row[at]
            row[at] = min(exchanged, row[at] + 1, row[at - 1] + 1)
    return row[-1]


def word_error_rate(references: Sequence[str], heard: Sequence[str]) -> float:
    """Return errors over the words of all references. Raises ValueError for references without words."""
    total = sum(len(words(reference)) for reference in references)
    if not total:
        raise ValueError("the references have no words: give what the clips say")
    pairs = zip(references, heard, strict=True)
    return sum(word_errors(reference, text) for reference, text in pairs) / total
