"""A query by an analyst, as aligned text."""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine import make_engine
from flows.pipeline.runtime.printable import printable

MAX_ROWS = 1000


def answer_lines(url: str, query: str) -> Iterator[str]:
    """Yield column names and up to 1,000 rows. Raises ValueError with Postgres' message on a bad query."""
    engine = make_engine(url, "wordwave sql")
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            # a colon is the query's own, never the name of a parameter
            result = connection.execute(text(query.replace(":", r"\:")))
            rows = [[_shown(value) for value in row] for row in result.fetchmany(MAX_ROWS + 1)]
            table = [list(result.keys()), *rows[:MAX_ROWS]]
    except DBAPIError as error:
        raise ValueError(str(error.orig).strip()) from error
    finally:
        engine.dispose()
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
    if len(rows) > MAX_ROWS:
        yield f"(the first {MAX_ROWS} rows: narrow the query, or use a client of your own)"


def _shown(value: object) -> str:
    """Return a value as text: bytes, such as a sha256, in hex, and NULL as an empty text."""
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes | memoryview) else printable(str(value))
