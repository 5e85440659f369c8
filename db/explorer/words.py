"""Search of clips by the words of their semantic codes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.explorer.clips import IN_SCOPE, Scope

GAP = "*"
MAX_WORDS = 12

_CODES = text(
    """
    SELECT codec_fingerprint, word, seconds, array_agg(code ORDER BY code) FROM analytics.codebook
    WHERE layer = 0 AND word = ANY(:words) GROUP BY codec_fingerprint, word, seconds
    """
)
_FIND = """
SELECT {columns} FROM analytics.tokens t {join} WHERE {scope} AND ({patterns}) {order} LIMIT :limit
"""


@dataclass(frozen=True)
class WordHit:
    """A clip that has the words, with its codes."""

    clip_id: int
    uri: str
    duration: float
    semantic: Sequence[int]
    codec: str


@dataclass(frozen=True)
class WordPattern:
    """Words in their order by the codes of each codec; between words that a gap parts is at least one other.

    `codes` has, by codec, one group of alternative codes per word, None for a gap; `seconds` has the length
    of a code.
    """

    codes: Mapping[str, Sequence[Sequence[int] | None]]
    seconds: Mapping[str, float]
    unknown: Sequence[str]

    def regular_expression(self, codec: str) -> str:
        """Return the pattern for codes that are written one after another, each between commas."""
        parts = [
            "(?:[0-9]+,)+?" if group is None else f"(?:{'|'.join(map(str, group))}),"
            for group in self.codes[codec]
        ]
        return "".join(parts)

    def starts(self, hit: WordHit, most: int) -> list[float]:
        """Return the first seconds at which the words begin in a clip."""
        written = "," + "".join(f"{code}," for code in hit.semantic)
        found = islice(re.finditer(f"(?<=,){self.regular_expression(hit.codec)}", written), most)
        places = [written.count(",", 0, match.start()) - 1 for match in found]
        return [place * self.seconds[hit.codec] for place in places]


def parse_words(session: Session, words: Sequence[str]) -> WordPattern:
    """Return the pattern of words and gaps for each codec that has all of the words.

    `unknown` are the words that no codec has.
    """
    named = [word for word in words if word != GAP]
    codes: dict[str, dict[str, Sequence[int]]] = {}
    lengths: dict[str, float] = {}
    for codec, word, seconds, numbers in session.execute(_CODES, {"words": named}):
        codes.setdefault(codec, {})[word] = numbers
        lengths[codec] = seconds
    complete = {
        codec: [None if word == GAP else known[word] for word in words]
        for codec, known in codes.items()
        if set(named) <= known.keys()
    }
    unknown = [word for word in dict.fromkeys(named) if not any(word in known for known in codes.values())]
    return WordPattern(complete, lengths, unknown)


def find_words(session: Session, pattern: WordPattern, scope: Scope | None, limit: int) -> list[WordHit]:
    """Return clips that are there and have the words, in the order of their names."""
    query = _FIND.format(
        columns="c.clip_id, c.uri, c.duration, t.semantic, t.codec_fingerprint",
        join="JOIN analytics.clips c ON c.uri = t.uri",
        scope=f"c.missing_since IS NULL AND {IN_SCOPE if scope else 'true'}",
        patterns=_patterns(pattern),
        order="ORDER BY c.uri",
    )
    values = {**_values(pattern), **(scope.values if scope else {}), "limit": limit}
    return [WordHit(*row) for row in session.execute(text(query), values)]


def find_contents(session: Session, pattern: WordPattern, scope: Scope, limit: int) -> list[bytes]:
    """Return the digests of contents in scope that have the words."""
    query = _FIND.format(
        columns="DISTINCT c.content_sha256",
        join="JOIN analytics.clips c ON c.uri = t.uri",
        scope=f"c.missing_since IS NULL AND {IN_SCOPE}",
        patterns=_patterns(pattern),
        order="",
    )
    values = {**_values(pattern), **scope.values, "limit": limit}
    return [bytes(digest) for digest in session.scalars(text(query), values)]


def _patterns(pattern: WordPattern) -> str:
    """Return a condition: an index finds the codes, and the expression checks their order."""
    return " OR ".join(
        f"t.semantic @> CAST(:some{number} AS smallint[]) AND t.codec_fingerprint = :codec{number} "
        f"AND ',' || array_to_string(t.semantic, ',') || ',' ~ :order{number}"
        for number in range(len(pattern.codes))
    )


def _values(pattern: WordPattern) -> dict[str, object]:
    values: dict[str, object] = {}
    for number, (codec, groups) in enumerate(pattern.codes.items()):
        values[f"some{number}"] = [group[0] for group in groups if group is not None and len(group) == 1]
        values[f"codec{number}"] = codec
        values[f"order{number}"] = f",{pattern.regular_expression(codec)}"
    return values
