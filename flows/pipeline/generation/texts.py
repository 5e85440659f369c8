"""Texts to generate audio from, of a form or command, or of a file whose bad lines are set aside."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from core.errors import PromptError
from flows.pipeline.libraries.manifest import MAX_ROWS, read_text
from flows.pipeline.libraries.rows import FileRow, ManifestError, WrongRow, object_rows, table_rows
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

COLUMN = "text"


@dataclass(frozen=True)
class TextLine:
    """A text and the number of its line, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Refused:
    """A refused line of a file, as far as it could be read, and the reason."""

    number: int
    text: str
    reason: str


@dataclass(frozen=True)
class Texts:
    """Texts in order, and refused lines. `place` is the file, None if there is none."""

    place: str | None
    lines: tuple[TextLine, ...]
    refused: tuple[Refused, ...] = ()

    @property
    def sha256(self) -> str:
        """The hex digest of all lines."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def accepted(self, check: Callable[[str], None]) -> "Texts":
        """Return the texts that `check` accepts. A PromptError refuses a file line, else it is raised."""
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


def find_texts(runtime: Runtime, texts: Sequence[str], place: str) -> Texts:
    """Return the given texts, or those of a file. Raises ValueError for neither and for both."""
    if bool(texts) == bool(place):
        raise ValueError("give texts, or the place of a file of texts, and not both")
    return read_texts(runtime, place) if place else given_texts(texts)


def given_texts(texts: Sequence[str]) -> Texts:
    """Return the texts of a form or a command, without outer spaces."""
    return Texts(None, tuple(TextLine(number, text.strip()) for number, text in enumerate(texts, start=1)))


def read_texts(runtime: Runtime, place: str) -> Texts:
    """Read texts from a .txt file (one per line), a .csv file (column text) or a .jsonl file ({"text": ...}).

    A line without a text is refused. Raises ManifestError for another kind of file, or one that is empty or
    too large.
    """
    kind = place.lower().rpartition(".")[2]
    if kind not in READERS:
        raise ManifestError(f"{place} is not a file of texts: name a .txt, .csv or .jsonl file")
    rows = READERS[kind](read_text(runtime, place))
    found = list(islice(rows, MAX_ROWS))
    number = len(found) + sum(1 for _ in rows)  # counted, not held: 16 MiB may be as many lines
    if not 0 < number <= MAX_ROWS:
        raise ManifestError(f"{place} has {number} texts, 1 to {MAX_ROWS} are needed")
    lines = tuple(one for one in found if isinstance(one, TextLine))
    return Texts(canonical(place), lines, tuple(one for one in found if isinstance(one, Refused)))


def refused_lines(refused: Iterable[Refused]) -> bytes:
    """Return the refused lines as a JSONL file."""
    return "".join(f"{json.dumps(asdict(one))}\n" for one in refused).encode()


def _plain(content: str) -> Iterator[TextLine | Refused]:
    for number, text in enumerate(content.removesuffix("\n").split("\n"), start=1):
        yield TextLine(number, text.strip())


def _table(content: str) -> Iterator[TextLine | Refused]:
    return map(_line, table_rows(content, [COLUMN]))


def _objects(content: str) -> Iterator[TextLine | Refused]:
    return map(_line, object_rows(content))


def _line(row: FileRow | WrongRow) -> TextLine | Refused:
    if isinstance(row, WrongRow):
        return Refused(row.number, row.text, f"the line {row.reason}")
    text = row.values.get(COLUMN) if isinstance(row.values, dict) else None
    if type(text) not in (str, int, float):
        return Refused(row.number, json.dumps(row.values), f"the line has no {COLUMN}")
    return TextLine(row.number, str(text).strip())


READERS: dict[str, Callable[[str], Iterator[TextLine | Refused]]] = {
    "txt": _plain,
    "csv": _table,
    "jsonl": _objects,
}
