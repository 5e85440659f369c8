"""The documented questions: every SQL statement of the analysts' page and of docs/queries.

What a question is about differs from time to time: uris, words and moments of the page are replaced.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.analysts.corpus import LABELS, Corpus
from benchmarks.analysts.filling import NIGHTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE, SAVED = DOCS / "analysts.md", DOCS / "queries"
BAR_MS, POINT_MS, SIMILAR_MS = 1_000.0, 100.0, 300.0
POINTS = re.compile(r"\b(why|find_words|find_codes)\(|uri = '")
SIMILAR = re.compile(r"\bsimilar_clips\(")
URI = re.compile(r"'(s3|file)://[^']*'")
PATTERN = re.compile(r"(find_words\(')([^']*)'")
CODES = re.compile(r"(find_codes\(')([^']*)'")


@dataclass(frozen=True)
class Question:
    """A statement as it is documented, and the milliseconds that 95 of 100 askings may take."""

    sql: str

    @property
    def bar_ms(self) -> float:
        """Point questions name a clip or words."""
        if SIMILAR.search(self.sql):
            return SIMILAR_MS
        return POINT_MS if POINTS.search(self.sql) else BAR_MS

    def asked_of(self, corpus: Corpus, random: Random) -> str:
        """Return the statement about a clip and words at random."""
        asked = URI.sub(lambda _: f"'{any_uri(corpus, random)}'", self.sql)
        asked = PATTERN.sub(lambda found: f"{found[1]}{_pattern(found[2], corpus, random, 'word')}'", asked)
        return CODES.sub(lambda found: f"{found[1]}{_pattern(found[2], corpus, random, '')}'", asked)


def documented_questions() -> list[Question]:
    """Return the statements of the SQL blocks of the page, then the saved queries with their examples."""
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    saved = [path.read_text(encoding="utf-8") for path in sorted(SAVED.glob("*.sql"))]
    texts = [*blocks, *map(_with_examples, saved)]
    return list(dict.fromkeys(Question(sql) for block in texts for sql in _statements(block)))


def _with_examples(saved: str) -> str:
    """Return a saved query with what its comments give as the values of parameters."""
    for name, value in re.findall(r"^-- (\w+) = (.*)$", saved, re.MULTILINE):
        value = value if name != "label" else LABELS[0]
        saved = saved.replace(f":{name}", f"'{value}'")
    return saved


def _statements(block: str) -> Iterator[str]:
    code = re.sub(r"--.*", "", block)
    yield from (" ".join(one.split()) for one in code.split(";") if one.strip())


def any_uri(corpus: Corpus, random: Random) -> str:
    """Return the uri of a clip that is there and has an answer by every library."""
    number = 6 * random.randint(1, len(corpus.codes) // 6)
    while number % 33 == 0 or number % 50 == 0:
        number = 6 * random.randint(1, len(corpus.codes) // 6)
    return f"s3://calls/{number % NIGHTS}/{number}.flac"


def _pattern(shape: str, corpus: Corpus, random: Random, prefix: str) -> str:
    """Return a pattern with the gaps of another and with codes as a clip has them there."""
    codes = corpus.codes[random.randrange(len(corpus.codes))].tolist()
    at = random.randrange(len(codes) - 20)
    parts = []
    for part in shape.split():
        if part == "**":
            at += 3
            parts.append(part)
            continue
        other = random.randrange(100)
        one = f"{prefix}{codes[at]}"
        parts.append(part if part == "*" else f"({one}|{prefix}{other})" if part[0] == "(" else one)
        at += 1
    return " ".join(parts)
