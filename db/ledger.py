"""The rows that record which clip has which answer, unprocessed, for checks that trust no other query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

Row = Mapping[str, Any]

_QUERIES = {
    "clips": """
        SELECT id, uri, version_token, content_sha256, missing_since FROM clips
        WHERE uri ^@ :root ORDER BY id""",
    "tokens": """
        SELECT content_sha256, codec_id, run_id, created_at FROM token_sequences WHERE content_sha256 IN (
          SELECT content_sha256 FROM clips WHERE uri ^@ :root) ORDER BY 1, 2""",
    "answers": """
        SELECT p.id, p.work_key, p.content_sha256, p.task, d.name AS library, p.demonstration_set_id,
          p.codec_id, p.llm_id, p.label, p.min_margin, p.run_id, p.created_at, p.retracted_by_run
        FROM predictions p JOIN demonstration_sets d ON d.id = p.demonstration_set_id
        WHERE p.content_sha256 IN (SELECT content_sha256 FROM clips WHERE uri ^@ :root) ORDER BY p.id""",
    "quarantine": """
        SELECT q.id, q.clip_id, q.stage, q.reason, q.attempts, q.resolved_at
        FROM quarantine q JOIN clips c ON c.id = q.clip_id WHERE c.uri ^@ :root ORDER BY q.id""",
    "promotions": """
        SELECT task, library, demonstration_set_id, codec_id, llm_id FROM promotions ORDER BY 1, 2""",
    "exports": """
        SELECT run_id, uri, num_rows, sha256s, completed_at FROM exports
        WHERE uri ^@ :results ORDER BY uri""",
    "labels": """
        SELECT uri, task, library, label, run FROM analytics.labels WHERE uri ^@ :root ORDER BY 1, 2, 3""",
}


@dataclass(frozen=True)
class Ledger:
    """Rows of the tables, and of the analysts' view `labels`, for one root of clips and one of results."""

    clips: list[Row]
    tokens: list[Row]
    answers: list[Row]
    quarantine: list[Row]
    promotions: list[Row]
    exports: list[Row]
    labels: list[Row]

    @property
    def current(self) -> list[Row]:
        """Clips of the last listing."""
        return [clip for clip in self.clips if clip["missing_since"] is None]

    @property
    def standing(self) -> list[Row]:
        """Answers that are not retracted."""
        return [answer for answer in self.answers if answer["retracted_by_run"] is None]

    @property
    def waiting(self) -> list[Row]:
        """Open quarantine rows."""
        return [row for row in self.quarantine if row["resolved_at"] is None]


def read_ledger(session: Session, root: str, results: str) -> Ledger:
    """Read all rows about clips whose uri starts with `root` and exports whose uri starts with `results`."""
    bounds = {"root": root, "results": results}
    return Ledger(**{name: _rows(session, query, bounds) for name, query in _QUERIES.items()})


def _rows(session: Session, query: str, bounds: Mapping[str, str]) -> list[Row]:
    wanted = {name: value for name, value in bounds.items() if f":{name}" in query}
    found = session.execute(text(query), wanted).mappings()
    return [{name: _plain(value) for name, value in row.items()} for row in found]


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
