"""The plan past one machine is computed from figures that the documentation has, and its archive works."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from benchmarks.capacity.__main__ import page
from benchmarks.capacity.plan import BACKFILL, YEAR, Figure, Plan, read_figures
from db.engine import database_url, make_engine, session_scope
from flows.pipeline.files.arrow import write_parquet
from tests.db.rows import make_library, make_tokenized_clips, sha256
from tests.docs.blocks import ROOT
from tests.fixtures_postgres import Database

PAGE, BENCHMARKS = ROOT / "docs" / "capacity.md", ROOT / "docs" / "benchmarks.md"
LIST = pa.list_(pa.int16())


@pytest.mark.parametrize("figure", read_figures().values(), ids=list(read_figures()))
def test_each_figure_is_what_the_benchmarks_page_says(figure: Figure) -> None:
    text_of_page = BENCHMARKS.read_text()
    assert figure.says in text_of_page
    assert figure.date in text_of_page
    module = re.search(r"make [\w-]+|benchmarks\.[\w.]+", figure.command)
    assert module
    assert module[0] in text_of_page


def test_the_page_has_the_tables_that_the_command_prints() -> None:
    _, _, rest = PAGE.read_text().partition("<!-- begin: python -m benchmarks.capacity -->\n")
    assert rest.partition("\n<!-- end -->")[0] == page().rstrip("\n")


def test_a_plan_grows_with_its_clips_and_the_nearest_wall_comes_first() -> None:
    figures = read_figures()
    year, backfill = Plan(YEAR, figures), Plan(BACKFILL, figures)
    assert year.gigabytes("codes") == pytest.approx(365 * 1e5 * 2500 / 1e9)
    assert backfill.gets == 10**8
    assert backfill.workers("writing of codes alone") == pytest.approx(1e6 / 2500 / 3600 / 24)
    shares = [wall.share for wall in year.walls]
    assert shares == sorted(shares)
    assert year.walls[0].limit < year.walls[0].needed


@pytest.fixture
def owner(database: Database) -> Iterator[Engine]:
    """Return the owner's connection to a database with codes of two months and a library."""
    writer = make_engine(database.url("writer"))
    with session_scope(writer) as session:
        codec_id = make_tokenized_clips(session, "old.wav", "also old.wav", "new.wav")
        make_library(session, codec_id, shot="shot.wav")
    writer.dispose()
    url = database_url(database.url("owner"))
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        moved = text("UPDATE token_sequences SET created_at = :at WHERE content_sha256 = ANY (:contents)")
        old = [sha256(name) for name in ("old.wav", "also old.wav", "shot.wav")]
        connection.execute(moved, {"at": "2026-01-15 12:00+00", "contents": old})
    yield engine
    engine.dispose()


def statements() -> list[str]:
    """Return the SQL of the page, block by block."""
    return re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_codes_of_a_month_are_archived_detached_and_read_back_from_parquet(
    owner: Engine, tmp_path: Path
) -> None:
    question = "SELECT content_sha256, semantic, acoustic1, acoustic2 FROM {} ORDER BY content_sha256"
    archive, drop = statements()
    with owner.connect() as connection:
        before = connection.execute(text(question.format("token_sequences"))).all()
        run = connection.connection.cursor()
        run.execute(archive)
        detach, remove = drop.strip().splitlines()
        run.execute(detach)
        part = connection.execute(text(question.format("archive.token_sequences_2026_01"))).all()
        left = connection.execute(text(question.format("token_sequences"))).all()
        schema = pa.schema([("content", pa.binary()), *((name, LIST) for name in ("l0", "l1", "l2"))])
        file = BytesIO()
        write_parquet(schema, part, file)
        run.execute(remove)
        latents = connection.scalar(text("SELECT count(*) FROM pooled_latents"))
        answered = connection.scalar(text("SELECT count(*) FROM contents"))
    assert {bytes(row[0]) for row in part} == {sha256("old.wav"), sha256("also old.wav")}
    assert {row[0].tobytes(): row[1:] for row in (*part, *left)} == {
        row[0].tobytes(): row[1:] for row in before
    }
    assert (latents, answered) == (2, 4)
    read = [tuple(row.values()) for row in pq.read_table(BytesIO(file.getvalue())).to_pylist()]
    assert read == [(bytes(content), *layers) for content, *layers in part]
