"""How fast tokens go into Postgres and come back while its tables grow, and which way takes rows fastest.

`python -m benchmarks.database [CLIPS ...]` starts an embedded Postgres and prints, for each number of clips
that the tables hold, what save_tokens writes and get_token_sequences and contents_with_latents read, one
transaction for each batch of the flows' size. Then what a batch of token rows takes by insert_new, which is a
COPY where no row exists, by COPY into a temporary table and an INSERT from there, by an INSERT that sends
arrays as text and by one of lists as the driver spells them, all of which leave a row that exists as it is;
which won; and a JSON line.

Rows are those of one-second clips in the released codec's shape, of random codes. Two floors stand beside
the writing. `server`: rows that are in the server already go into the same tables by INSERT ... SELECT, with
all their rules and a commit: no client is faster. `bare`: rows spelled for COPY beforehand go into tables
without log, rules or indexes, and their bytes into a file that is synced: what the bytes cost. The floor of
reading is the same query again, from memory, its rows copied out in binary and not looked at.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from psycopg2.extras import execute_values
from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.orm import Session

from benchmarks.machine import seconds_of
from benchmarks.scale_out import ask, fresh_database
from core.codec.config import CodecConfig
from db import bulk_insert as bulk
from db import tokens
from db.bulk_insert import insert_new
from db.clips import add_clips, clips_to_tokenize
from db.embedded import server as embedded
from db.embedded.server import EmbeddedServer
from db.engine import database_url, make_engine, session_scope
from db.model_registry import ensure_codec
from db.models import Content, TokenSequence
from db.object_version import ObjectVersion
from db.runs import start_run
from db.tokens import TokenizedContent
from flows.pipeline.configuration.settings import Settings

SIZES = (100, 1_000, 10_000, 100_000)
BATCH = Settings().batch_size
BATCHES = 20
"""Measured at each size, or as many as fit before the next one."""
FILL_STEP = 20_000
WAYS_BATCHES, WAYS_ROWS = (50, 100, 200, 1_000), 2_000
CLEAR = 1.2
"""So many times as fast is a clear win."""
CONFIG = CodecConfig()
COLUMNS = {
    "contents": "sha256, sample_rate, channels, num_samples, format, peak",
    "token_sequences": "content_sha256, codec_id, semantic, acoustic1, acoustic2, levels, run_id",
    "pooled_latents": "content_sha256, codec_id, mean, deviation, run_id",
    "clips": "id, content_sha256",
}
"""What save_tokens writes, in its order: the rows of three tables and the link of each clip."""
STORED = tuple(COLUMNS)[:3]
INTO = {table: f"INSERT INTO {table} ({COLUMNS[table]})" for table in STORED}
LINK = "UPDATE clips SET content_sha256 = b.content_sha256 FROM bare.clips AS b WHERE clips.id = b.id"
FILLED_KEY = "sha256({key} || convert_to(n::text, 'UTF8'))"
FILL_CLIPS = f"""
INSERT INTO clips (uri, version_token, size, last_modified, content_sha256)
SELECT 's3://clips/filled/' || n || '/' || encode(sha256, 'hex'), 'v1', 20000, now(),
{FILLED_KEY.format(key="sha256")} FROM bare.contents, generate_series(:first, :last) AS n
"""
LISTS = "(%s, %s, %s::smallint[], %s::smallint[], %s::smallint[], %s::smallint[], %s::uuid)"
INCOMING = """
CREATE TEMP TABLE IF NOT EXISTS incoming (LIKE token_sequences INCLUDING DEFAULTS) ON COMMIT DELETE ROWS
"""

Row = Mapping[str, object]
Seconds = dict[str, float]
Reader = Callable[[Session, int, Collection[bytes]], Collection[object]]


class Tables:
    """A database of its own, seen as writer, that clips are put into."""

    def __init__(self, server: EmbeddedServer, name: str) -> None:
        self.url, self.admin_url = fresh_database(server, name), server.admin_url(name)
        self.engine: Engine = make_engine(self.url)
        self.rng = np.random.default_rng(0)
        self.held = self.listed = 0
        administer(self.admin_url, *_preparations(name))
        asked: Row = {"parameters": {}, "day": None, "flow_run_id": None, "code_version": "0"}
        with session_scope(self.engine) as session:
            self.codec_id = ensure_codec(session, "released", "released", asdict(CONFIG), ((), (), ()))
            self.run_id = start_run(session, "tokenize", "clips", **asked).id  # type: ignore[arg-type]

    def new_batch(self) -> list[TokenizedContent]:
        """Clips that are listed and have no tokens yet, with the tokens that they will have."""
        names = range(self.listed, self.listed + BATCH)
        uris, now = {f"s3://clips/new/{name:09}.flac" for name in names}, datetime.now(UTC)
        self.listed += BATCH
        with session_scope(self.engine) as session:
            add_clips(session, [ObjectVersion(uri, "v1", 20_000, now) for uri in uris], uris)
            waiting = clips_to_tokenize(session, uris, self.codec_id)
        return [tokenized(self.rng, clip.id) for clip in waiting]

    def rows(self, batch: Sequence[TokenizedContent]) -> dict[str, list[Row]]:
        """Return what save_tokens writes of a batch, by table."""
        ordered, named = sorted(batch, key=lambda one: one.sha256), (self.codec_id, self.run_id)
        return {
            "contents": [tokens._content_row(one) for one in ordered],
            "token_sequences": [tokens._sequence_row(one, *named) for one in ordered],
            "pooled_latents": [tokens._latent_row(one, *named) for one in ordered],
            "clips": [{"id": one.clip_id, "content_sha256": one.sha256} for one in ordered],
        }

    def save(self, batch: Sequence[TokenizedContent]) -> None:
        """As tokenize_batch writes it."""
        with session_scope(self.engine) as session:
            tokens.save_tokens(session, self.codec_id, self.run_id, batch)
        self.held += len(batch)

    def copy_bare(self, texts: Mapping[str, bytes]) -> None:
        with session_scope(self.engine) as session:
            for table, rows in texts.items():
                copy(session, f"bare.{table}", COLUMNS[table], rows)

    def move(self) -> None:
        """Copy what is in the bare tables into those with rules."""
        with session_scope(self.engine) as session:
            for table, into in INTO.items():
                session.execute(text(f"{into} TABLE bare.{table} ON CONFLICT DO NOTHING"))
            session.execute(text(LINK))
        self.held += BATCH

    def clear_bare(self) -> None:
        with session_scope(self.engine) as session:
            session.execute(text(f"TRUNCATE {', '.join(f'bare.{table}' for table in COLUMNS)}"))

    def fill(self, size: int) -> None:
        """Up to a size, with the tokens of one batch under ever other keys; then tidied as time would."""
        self.copy_bare(texts(self.rows(self.new_batch())))
        for held in range(self.held, size, FILL_STEP):
            last = min(size, held + FILL_STEP)
            with session_scope(self.engine) as session:
                fill(session, {"first": held // BATCH, "last": last // BATCH - 1})
            self.held = last
        self.clear_bare()
        administer(self.admin_url, "VACUUM (ANALYZE)", "CHECKPOINT")


def _preparations(name: str) -> Iterator[str]:
    """Tables with the columns of ours and no rules; and temporary ones, which the writer may not make."""
    yield "CREATE SCHEMA bare"
    for table, columns in COLUMNS.items():
        yield f"CREATE UNLOGGED TABLE bare.{table} AS SELECT {columns} FROM {table} WITH NO DATA"
    yield "GRANT USAGE ON SCHEMA bare TO wordwave_writer"
    yield "GRANT ALL ON ALL TABLES IN SCHEMA bare TO wordwave_writer"
    yield f"GRANT TEMPORARY ON DATABASE {name} TO wordwave_writer"


def fill(session: Session, numbers: Mapping[str, int]) -> None:
    """Copy the rows of the bare tables once for each number, under keys made from theirs and the number."""
    for table, into in INTO.items():
        key, _, others = COLUMNS[table].partition(", ")
        rows = f"SELECT {FILLED_KEY.format(key=key)}, {others} FROM bare.{table}"
        session.execute(text(f"{into} {rows}, generate_series(:first, :last) AS n"), numbers)
    session.execute(text(FILL_CLIPS), numbers)


def administer(url: str, *statements: str) -> None:
    """As administrator, each statement by itself."""
    engine = create_engine(database_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def tokenized(rng: np.random.Generator, clip_id: int) -> TokenizedContent:
    """Return random codes as the released codec would give them for a second of audio."""
    blocks = -(-CONFIG.sample_rate // CONFIG.block_length)
    sizes = zip(CONFIG.codebook_sizes, CONFIG.codes_per_block, strict=True)
    semantic, acoustic1, acoustic2 = (rng.integers(0, n, blocks * each).tolist() for n, each in sizes)
    mean, deviation = rng.standard_normal((2, CONFIG.latent_dim)).astype(np.float16).tolist()
    return TokenizedContent(
        clip_id=clip_id,
        sha256=rng.bytes(32),
        sample_rate=CONFIG.sample_rate,
        channels=1,
        num_samples=CONFIG.sample_rate,
        format="FLAC/PCM_16",
        peak=0.5,
        codes=(semantic, acoustic1, acoustic2),
        levels=rng.integers(-600, 0, len(semantic)).tolist(),
        latent=(mean, deviation),
    )


def payload_bytes(one: TokenizedContent) -> int:
    """Return the key, and two bytes for each code, level and number of the latent."""
    return len(one.sha256) + 2 * sum(map(len, (*one.codes, one.levels, *one.latent)))


PAYLOAD = payload_bytes(tokenized(np.random.default_rng(0), 0))


def texts(rows: Mapping[str, Sequence[Row]]) -> dict[str, bytes]:
    return {table: bulk._lines(of_table) for table, of_table in rows.items()}


def copy(session: Session, table: str, columns: str, rows: bytes) -> None:
    cursor: Any = session.connection().connection.cursor()
    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", BytesIO(rows))


def sync_bytes(path: Path, size: int) -> None:
    """So many bytes into a file, and down to the disk."""
    with path.open("ab") as file:
        file.write(bytes(size))
        file.flush()
        os.fdatasync(file.fileno())


def writing(tables: Tables, folder: Path, batches: int) -> Seconds:
    """Of a batch, and of another one on the way of each floor, turn by turn: medians."""
    spent: dict[str, list[float]] = {"write": [], "server": [], "bare": []}
    for _ in range(batches):
        batch, copied = tables.new_batch(), texts(tables.rows(tables.new_batch()))
        spent["write"].append(seconds_of(partial(tables.save, batch)))
        synced = seconds_of(partial(sync_bytes, folder / "synced", BATCH * PAYLOAD))
        spent["bare"].append(synced + seconds_of(partial(tables.copy_bare, copied)))
        spent["server"].append(seconds_of(tables.move))
        tables.clear_bare()
    return {way: median(times) for way, times in spent.items()}


def reading(tables: Tables, name: str, reader: Reader) -> Seconds:
    """Of a batch of any contents, and of the query alone: medians."""
    contents = [bytes(row[0]) for row in ask(tables.url, "SELECT content_sha256 FROM token_sequences")]
    spent, floor = [], []
    with sent_by(tables.engine) as sent:
        for _ in range(BATCHES):
            chosen = [contents[place] for place in tables.rng.permutation(len(contents))[:BATCH]]
            spent.append(seconds_of(partial(read, tables, reader, chosen)))
            floor.append(seconds_copied_out(tables.engine, *sent[-1]))
    return {name: median(spent), f"{name}_floor": median(floor)}


def read(tables: Tables, reader: Reader, contents: Sequence[bytes]) -> None:
    """As the flows read a batch; each of the contents must be there."""
    with session_scope(tables.engine) as session:
        found = len(reader(session, tables.codec_id, contents))
    if found != len(contents):
        raise LookupError(f"{found} of {len(contents)} contents were found")


@contextmanager
def sent_by(engine: Engine) -> Iterator[list[tuple[str, object]]]:
    """Record the statements that go to the server, with their parameters."""
    sent: list[tuple[str, object]] = []

    def record(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", record)
    yield sent
    event.remove(engine, "before_cursor_execute", record)


def seconds_copied_out(engine: Engine, statement: str, parameters: object) -> float:
    with engine.connect() as connection:
        cursor: Any = connection.connection.cursor()
        query = f"COPY ({cursor.mogrify(statement, parameters).decode()}) TO STDOUT (FORMAT binary)"
        return seconds_of(partial(cursor.copy_expert, query, BytesIO()))


def growth(server: EmbeddedServer, folder: Path, sizes: Sequence[int]) -> tuple[dict[int, Seconds], float]:
    """Seconds of a batch at each size, and the bytes on disk of a clip's tokens at the last one."""
    tables, found = Tables(server, "growing"), {}
    tables.save(tables.new_batch())  # connections and statements are made ready
    for size, after in zip(sizes, (*sizes[1:], 10 * sizes[-1]), strict=True):
        tables.fill(size)
        found[size] = reading(tables, "read", tokens.get_token_sequences)
        found[size] |= reading(tables, "check", tokens.contents_with_latents)
        found[size] |= writing(tables, folder, max(1, min(BATCHES, (after - size) // (2 * BATCH))))
    each = " + ".join(f"pg_total_relation_size('{table}')" for table in STORED)
    [[stored]] = ask(tables.url, f"SELECT {each}")
    tables.engine.dispose()
    return found, float(stored) / tables.held


def by_insert_new(session: Session, rows: Sequence[Row]) -> int:
    return insert_new(session, TokenSequence, rows)


def by_insert(session: Session, rows: Sequence[Row]) -> int:
    return bulk._insert(session, TokenSequence, rows)


def by_copy(session: Session, rows: Sequence[Row]) -> int:
    """Into a temporary table that each connection makes once, and from there."""
    columns = COLUMNS["token_sequences"]
    cursor: Any = session.connection().connection.cursor()
    cursor.execute(INCOMING)
    copy(session, "incoming", columns, bulk._lines(rows))
    cursor.execute(f"{INTO['token_sequences']} SELECT {columns} FROM incoming ON CONFLICT DO NOTHING")
    return int(cursor.rowcount)


def by_lists(session: Session, rows: Sequence[Row]) -> int:
    """Many rows as the driver spells lists: the expression ARRAY[1, 2, 3]."""
    cursor: Any = session.connection().connection.cursor()
    values = [tuple(row.values()) for row in rows]
    statement = f"{INTO['token_sequences']} VALUES %s ON CONFLICT DO NOTHING"
    execute_values(cursor, statement, values, LISTS, page_size=len(rows))
    return int(cursor.rowcount)


WAYS = {
    "insert_new": by_insert_new,
    "COPY and INSERT": by_copy,
    "INSERT of text": by_insert,
    "INSERT of lists": by_lists,
}


def ways(server: EmbeddedServer) -> dict[int, Seconds]:
    """Of a batch of token rows and its commit, by batch size and way: medians."""
    tables, found = Tables(server, "ways"), {}
    for size in (BATCH, *WAYS_BATCHES):  # the first one makes connections and statements ready
        turns = range(max(5, min(20, WAYS_ROWS // size)))
        spent = [{way: insert_twice(tables, way, size) for way in WAYS} for _ in turns]
        found[size] = {way: median(turn[way] for turn in spent) for way in WAYS}
    tables.engine.dispose()
    return {size: found[size] for size in WAYS_BATCHES}


def insert_twice(tables: Tables, way: str, size: int) -> float:
    """Seconds of the first time; the second must change nothing."""
    rows = tables.rows([tokenized(tables.rng, 0) for _ in range(size)])
    with session_scope(tables.engine) as session:
        insert_new(session, Content, rows["contents"])
    inserted: list[int] = []

    def insert() -> None:
        with session_scope(tables.engine) as session:
            inserted.append(WAYS[way](session, rows["token_sequences"]))

    first = seconds_of(insert)
    insert()
    if inserted != [size, 0]:
        raise ValueError(f"{way} wrote {inserted} of {size} rows the first and the second time")
    return first


def report(grown: Mapping[int, Seconds], stored: float) -> None:
    """Print the tables of writing and reading."""
    shape = f"{PAYLOAD} bytes of tokens, {stored:.0f} on disk with indexes"
    print(f"One-second clips in batches of {BATCH}, {shape}")
    print("Clips a second, and how many times as long as each floor")
    show_rates(grown, "write", ("server", "bare"))
    show_rates(grown, "read", ("read_floor",))
    show_rates(grown, "check", ("check_floor",))
    first, last = min(grown), max(grown)
    grew = ", ".join(
        f"{what} {grown[last][what] / grown[first][what]:.2f}" for what in ("write", "read", "check")
    )
    print(f"  a batch at {last} clips takes, of one at {first}: {grew} times")


def show_rates(grown: Mapping[int, Seconds], what: str, floors: Sequence[str]) -> None:
    print(f"  {what:<9}{'clips/s':>9}{'MB/s':>8}{'ms':>8}" + "".join(f"{f:>13}{'times':>7}" for f in floors))
    for size, seconds in grown.items():
        rate = BATCH / seconds[what]
        beside = "".join(f"{BATCH / seconds[f]:>13.0f}{seconds[what] / seconds[f]:>7.1f}" for f in floors)
        print(f"  {size:<9}{rate:>9.0f}{rate * PAYLOAD / 1e6:>8.1f}{1e3 * seconds[what]:>8.1f}{beside}")


def report_ways(inserted: Mapping[int, Seconds]) -> None:
    """Print the table of ways, and who won at the batch size that is nearest to the flows'."""
    print("Token rows, what exists stays: milliseconds of a batch and its commit")
    print(f"  {'rows':<9}" + "".join(f"{way:>24}" for way in WAYS))
    for size, seconds in inserted.items():
        print(f"  {size:<9}" + "".join(f"{1e3 * seconds[way]:>24.1f}" for way in WAYS))
    size = min(inserted, key=lambda size: abs(size - BATCH))
    print(f"  at {size} rows {verdict_of(inserted[size])}")


def verdict_of(seconds: Seconds) -> str:
    """Return which ways won, those together that are as good as level."""
    best = min(seconds.values())
    ahead = " and ".join(way for way in WAYS if seconds[way] < CLEAR * best)
    over = {way: seconds["insert_new"] / seconds[way] for way in WAYS if way != "insert_new"}
    said = "; ".join(f"{way} is {times:.2f} times as fast as insert_new" for way, times in over.items())
    return f"no way is clearly faster: {said}" if "insert_new" in ahead else f"{ahead} won: {said}"


def main(sizes: Sequence[int]) -> None:
    """Print the tables, which way won and the JSON line."""
    if list(sizes) != sorted(sizes) or any(size < BATCH or size % BATCH for size in sizes):
        sys.exit(f"CLIPS rise, and are whole batches of {BATCH}: {sizes}")
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        server = embedded.start(Path(folder) / "home")
        try:
            grown, stored = growth(server, Path(folder), sizes)
            inserted = ways(server)
        finally:
            embedded.stop(Path(folder) / "home")
    report(grown, stored)
    report_ways(inserted)
    said = {"benchmark": "database", "cores": os.cpu_count(), "batch": BATCH, "payload_bytes": PAYLOAD}
    print(json.dumps({**said, "stored_bytes": stored, "seconds": grown, "ways": inserted}))


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
