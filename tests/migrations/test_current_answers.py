"""The faster views give the same rows as the definitions they replaced, for any history."""

from collections.abc import Iterator
from random import Random
from types import ModuleType

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text

from migrations.upgrade import alembic_config, downgrade, upgrade
from tests.fixtures_postgres import Database

ORIGINS = """
INSERT INTO codecs (id, fingerprint, name, config, sample_rate, codebook_sizes, code_samples)
SELECT id, 'codec ' || id, 'tiny', '{}', 16000, '{4, 8, 8}', '{1920, 960, 480}' FROM generate_series(1, 2) id;
INSERT INTO llms (id, fingerprint, name) SELECT id, 'llm ' || id, 'tiny-llama' FROM generate_series(1, 2) id;
INSERT INTO demonstration_sets (id, name, version, task, content_hash)
SELECT 2 * version + (name = 'calls')::integer, name, version, 'label', sha256((name || version)::bytea)
FROM (VALUES ('sounds'), ('calls')) AS names (name), generate_series(0, 1) AS numbers (number),
  LATERAL (SELECT number + 1 AS version) AS versions;
INSERT INTO runs (id, kind, partition_key, code_version, parameters)
SELECT md5(id::text)::uuid, 'label', 's3://calls', '0', '{}' FROM generate_series(1, 2) id;
INSERT INTO contents (sha256, sample_rate, channels, num_samples, format, peak)
SELECT sha256(id::text::bytea), 16000, 1, 16000, 'WAV/PCM_16', 0.5 FROM generate_series(0, 4) id;
"""
CLIP = text("""
INSERT INTO clips (uri, version_token, size, last_modified, content_sha256, missing_since)
VALUES (:uri, :version, 1, now(), sha256(CAST(CAST(:content AS text) AS bytea)),
  timestamptz '2026-11-01' + :gone * interval '1 day')
""")
ANSWER = text("""
INSERT INTO predictions (work_key, content_sha256, task, demonstration_set_id, codec_id, llm_id, labeler,
  label, probabilities, margin, min_margin, baselines, is_demonstration, provenance, seed, run_id, created_at,
  retracted_by_run)
VALUES (sha256(CAST(CAST(:number AS text) AS bytea)), sha256(CAST(CAST(:content AS text) AS bytea)), :task,
  :library, :codec, :llm, 'few-shot', :label, jsonb_build_object(CAST(:label AS text), 0.5), :margin, 0.1,
  '{"chance": 0.5}', false, '{}', 1,
  CAST(md5('1') AS uuid), timestamptz '2026-11-01' + :day * interval '1 day',
  CASE WHEN :retracted THEN CAST(md5('2') AS uuid) END)
""")
PROMOTION = text("""
INSERT INTO promotions (task, library, demonstration_set_id, codec_id, llm_id)
SELECT :task, name, id, :codec, :llm FROM demonstration_sets WHERE id = :library ON CONFLICT DO NOTHING
""")


@pytest.fixture
def revision() -> ModuleType:
    found = ScriptDirectory.from_config(alembic_config("")).get_revision("20261129_current_answers")
    assert found is not None
    return found.module


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    engine = create_engine(database.url("owner"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _origin(random: Random) -> dict[str, object]:
    task = random.choice(["label", "mood"])
    library, codec, llm = random.randint(2, 5), random.randint(1, 2), random.choice([None, 1, 2])
    return {"task": task, "library": library, "codec": codec, "llm": llm}


def _write_history(connection: Connection, random: Random) -> None:
    connection.exec_driver_sql(ORIGINS)
    for number in range(20):
        uri, content = f"s3://calls/{random.randrange(8)}", random.choice([None, *range(5)])
        gone = random.randrange(3)
        clip = {"uri": uri, "version": str(number), "content": content, "gone": gone}
        connection.execute(CLIP, clip)
    for number in range(60):
        answer = {"number": number, "content": random.randrange(5), "label": random.choice(["dog", "cat"])}
        answer |= {"margin": random.random(), "day": random.randrange(4), "retracted": random.random() < 0.2}
        connection.execute(ANSWER, answer | _origin(random))
    for _ in range(random.randrange(4)):
        connection.execute(PROMOTION, _origin(random))
    connection.execute(
        text(
            "UPDATE clips SET missing_since = NULL WHERE id IN"
            " (SELECT min(id) FROM clips WHERE length(uri) % 2 = 0 OR id % 3 = 0 GROUP BY uri)"
        )
    )


@pytest.mark.parametrize("seed", range(8))
def test_any_history_has_the_answers_of_the_older_definition(
    owner: Connection, revision: ModuleType, seed: int
) -> None:
    _write_history(owner, Random(seed))
    owner.exec_driver_sql("CREATE SCHEMA before")
    for view in (revision.CLIPS_BEFORE, revision.LABELS_BEFORE):
        owner.exec_driver_sql(view.format(schema="before"))
    for view in ("clips", "labels"):
        columns = _columns(owner, f"before.{view}")  # views may get new ones, and lose none
        rows = {schema: _rows(owner, f"{schema}.{view}", columns) for schema in ("analytics", "before")}
        assert rows["analytics"] == rows["before"]
        assert rows["before"]


def _columns(connection: Connection, view: str) -> str:
    names = text("SELECT attname FROM pg_attribute WHERE attrelid = CAST(:view AS regclass) ORDER BY attnum")
    return ", ".join(connection.scalars(names, {"view": view}))


def _rows(connection: Connection, view: str, columns: str) -> list[str]:
    return sorted(connection.scalars(text(f"SELECT CAST(ROW({columns}) AS text) FROM {view}")))


def test_the_older_views_come_back_with_the_older_schema(database: Database, owner: Connection) -> None:
    definition = text(
        "SELECT pg_get_viewdef('analytics.labels'::regclass) || pg_get_viewdef('analytics.clips')"
    )
    newer = owner.scalar(definition)
    owner.rollback()
    downgrade(database.url("owner"), "20261125_generated_audio")
    assert "DISTINCT ON (c.uri)" in str(owner.scalar(definition))
    owner.rollback()
    upgrade(database.url("owner"))
    assert owner.scalar(definition) == newer
