"""What is to be said: texts of a form or command, or of a file in which bad lines are set aside."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from core.errors import PromptError
from flows.pipeline.libraries.manifest import MAX_ROWS, read_text
from flows.pipeline.libraries.rows import ManifestError, Row, WrongRow, object_rows, table_rows
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

COLUMN = "text"


@dataclass(frozen=True)
class Line:
    """A text and the number of its line, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Refused:
    """A line of a file that cannot be asked, as far as it could be read, and why."""

    number: int
    text: str
    reason: str


@dataclass(frozen=True)
class Texts:
    """Texts in their order, and what was set aside; `place` is None where they are no file's."""

    place: str | None
    lines: tuple[Line, ...]
    refused: tuple[Refused, ...] = ()

    @property
    def sha256(self) -> str:
        """Hex digest of all lines."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def accepted(self, check: Callable[[str], None]) -> "Texts":
        """These without what `check` raises PromptError for; where they are no file's, that is raised."""
        kept, refused = [], list(self.refused)
        for line in self.lines:
            try:
                check(line.text)
                kept.append(line)
            except PromptError as error:
                if self.place is None:
                    raise
                refused.append(Refused(line.number, line.text, str(error)))
        return Texts(self.place, tuple(kept), tuple(sorted(refused, key=lambda one: one.number)))


def asked_texts(runtime: Runtime, texts: Sequence[str], place: str) -> Texts:
    """The texts themselves, or those of a file. Raises ValueError for neither and for both."""
    if bool(texts) == bool(place):
        raise ValueError("give texts, or the place of a file of texts, and not both")
    return read_texts(runtime, place) if place else given_texts(texts)


def given_texts(texts: Sequence[str]) -> Texts:
    """The texts of a form or a command, without outer spaces."""
    return Texts(None, tuple(Line(number, text.strip()) for number, text in enumerate(texts, start=1)))


def read_texts(runtime: Runtime, place: str) -> Texts:
    """The texts of a .txt file (a line each), a .csv file (its column text) or a .jsonl file ({"text": ...}).

    A line without a text is set aside. Raises ManifestError for a file that is none of these, empty or large.
    """
    kind = place.lower().rpartition(".")[2]
    if kind not in READERS:
        raise ManifestError(f"{place} is no file of texts: give a .txt, .csv or .jsonl file")
    rows = READERS[kind](read_text(runtime, place))
    found = list(islice(rows, MAX_ROWS))
    number = len(found) + sum(1 for _ in rows)  # counted, not held: 16 MiB may be as many lines
    if not 0 < number <= MAX_ROWS:
        raise ManifestError(f"{place} has {number} texts, 1 to {MAX_ROWS} are needed")
    lines = tuple(one for one in found if isinstance(one, Line))
    return Texts(canonical(place), lines, tuple(one for one in found if isinstance(one, Refused)))


def refused_lines(refused: Iterable[Refused]) -> bytes:
    """As a JSONL file."""
    return "".join(f"{json.dumps(asdict(one))}\n" for one in refused).encode()


def _plain(content: str) -> Iterator[Line | Refused]:
    for number, text in enumerate(content.removesuffix("\n").split("\n"), start=1):
        yield Line(number, text.strip())


def _table(content: str) -> Iterator[Line | Refused]:
    return map(_line, table_rows(content, [COLUMN]))


def _objects(content: str) -> Iterator[Line | Refused]:
    return map(_line, object_rows(content))


def _line(row: Row | WrongRow) -> Line | Refused:
    if isinstance(row, WrongRow):
        return Refused(row.number, row.text, f"the line {row.reason}")
    text = row.values.get(COLUMN) if isinstance(row.values, dict) else None
    if type(text) not in (str, int, float):
        return Refused(row.number, json.dumps(row.values), f"the line has no {COLUMN}")
    return Line(row.number, str(text).strip())


READERS: dict[str, Callable[[str], Iterator[Line | Refused]]] = {
    "txt": _plain,
    "csv": _table,
    "jsonl": _objects,
}
