"""Saved queries: commented files of SQL, whose values can be given.

The first line of a file is its question. Each further line of its comment, `-- name = value`, is a value that
the query binds as `:name`, with what it is if nobody gives another one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_BESIDE_US = Path(__file__).with_name("sql")
"""Where an installed wheel has them."""
_IN_A_CHECKOUT = Path(__file__).parents[3] / "docs" / "queries"
FOLDER = _BESIDE_US if _BESIDE_US.is_dir() else _IN_A_CHECKOUT
_VALUE = re.compile(r"^-- ([a-z_]+) = (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class SavedQuery:
    """A query with the question that it answers, and the values that it needs."""

    name: str
    question: str
    values: Mapping[str, str]
    sql: str

    def with_values(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return all values. Raises ValueError for one that the query does not have."""
        if unknown := sorted(given.keys() - self.values.keys()):
            has = ", ".join(self.values) or "none"
            raise ValueError(f"{self.name} has no value {', '.join(unknown)}; its values are: {has}")
        return {**self.values, **given}


def saved_names() -> list[str]:
    """Return the names of all saved queries."""
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


def read_saved(name: str) -> SavedQuery:
    """Return the saved query of a name, which is one of saved_names."""
    text = (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    lines = text.splitlines()
    sql = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
    return SavedQuery(name, lines[0].removeprefix("-- "), dict(_VALUE.findall(text)), sql)
