"""The current answers as analysts see them, read through their own view."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

ROWS_AT_A_TIME = 5_000

CURRENT = text(
    """
    SELECT uri, encode(content_sha256, 'hex') AS content_sha256, task, label, probability, margin, status,
      chance, majority_label, nearest_label, nearest_latent_label, probabilities, is_demonstration, library,
      version, labeler, llm, codec, run::text AS run, created_at
    FROM analytics.labels
    WHERE missing_since IS NULL AND library = :library AND (uri = :place OR starts_with(uri, :folder))
    ORDER BY uri
    """
)


def current_labels(session: Session, place: str, library: str) -> Iterator[dict[str, Any]]:
    """The current answer of each current clip of a place by a library, in uri order, as rows of the view."""
    rows = session.execute(
        CURRENT,
        {"place": place, "folder": place.rstrip("/") + "/", "library": library},
        execution_options={"yield_per": ROWS_AT_A_TIME},
    )
    for row in rows.mappings():
        yield dict(row)
