"""What each role can do: the wall between analysts and tables, tested through their own connections."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from db.base import Base
from db.bootstrap import BOOTSTRAP_SQL, ROLES, Role, bootstrap, role_name
from db.embedded.host import Host
from db.embedded.server import EmbeddedServer
from tests.fixtures_postgres import Database, migrated_database

TABLES = sorted(Base.metadata.tables)
KEPT_BY_TRIGGERS = {"current_answers", "past_answers", "days_to_count", "label_counts", "agreement_counts"}
FROZEN = {
    "contents",
    "codecs",
    "codebook_words",
    "llms",
    "token_sequences",
    "pooled_latents",
    "embedding_models",
    "embeddings",
    "sound_tags",
    "window_embeddings",
    "event_sets",  # but for the mark of a retraction
    "events",
    "demonstration_sets",
    "demonstrations",
    "denoising_measures",
    "exports",
    "library_uses",
    "labeler_choices",
    "watches",
    "near_copy_keys",
    "near_copies",
    "label_motifs",
    "review_queue",
    "review_decisions",
    "tombstones",
}


@pytest.fixture(scope="module")
def database(postgres: EmbeddedServer, migrated_template: str) -> Iterator[Database]:
    """Make one database for all: these attempts are refused, or change nothing that another test sees."""
    with migrated_database(postgres, migrated_template) as database:
        yield database


def _run(database: Database, role: Role, *statements: str) -> None:
    engine = create_engine(database.url(role), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # The role's defaults are no wall: a session may change them.
        connection.execute(text("SET default_transaction_read_only = off"))
        for statement in statements:
            connection.execute(text(statement))


def _refused(database: Database, role: Role, statement: str) -> bool:
    with pytest.raises(ProgrammingError) as caught:
        _run(database, role, statement)
    return caught.value.orig.pgcode in {"42501", "3F000"}  # type: ignore[union-attr]


def test_an_analyst_reads_every_view(database: Database) -> None:
    views = ["clips", "tokens", "words", "labels", "answers", "generated", "quarantine", "runs", "figures"]
    views += ("embeddings", "sound_tags", "nights", "demonstrations", "latents", "codebook", "history")
    views += ("least_sure", "labelers", "libraries", "accuracy")
    views += ("versions", "label_spans", "sequences", "events")
    views += ("word_counts", "near_duplicates", "label_motifs")
    views += ("reviews", "review_decisions", "review_accuracy", "lessons", "comparisons")
    views += ("changes", "lake_labels", "lake_tokens", "content_embeddings")
    _run(database, "analyst", *(f"SELECT * FROM {view}" for view in views))


def test_an_analyst_reads_no_table(database: Database) -> None:
    for table in [*TABLES, "alembic_version"]:
        assert _refused(database, "analyst", f"SELECT * FROM public.{table}"), table


REFUSED = {
    "tables": [
        "INSERT INTO public.llms (fingerprint, name) VALUES ('a', 'b')",
        "INSERT INTO analytics.clips (uri) VALUES ('a')",
        "UPDATE analytics.labels SET label = 'a'",
        "DELETE FROM analytics.quarantine",
        "SELECT * FROM analytics.labels FOR UPDATE",
        "TRUNCATE public.runs",
        "SELECT setval('public.clips_id_seq', 1)",
        "INSERT INTO public.review_decisions (review_id) VALUES (1)",
        "INSERT INTO analytics.review_decisions (review) VALUES (1)",
        "UPDATE analytics.reviews SET label = 'a'",
        "SELECT public.forget_contents('{}', '{}', '{}', '{}', '{}')",
        "SELECT public.drop_unread_clips('{1}', '{}')",
    ],
    "definitions": [
        "CREATE TABLE public.mine (id integer)",
        "CREATE TABLE analytics.mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE VIEW analytics.mine AS SELECT 1",
        "CREATE TEMPORARY VIEW mine AS SELECT 1",
        "CREATE FUNCTION analytics.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "DROP EXTENSION vector",
        "ALTER EXTENSION vector UPDATE",
        "CREATE TABLE vectors.mine (id integer)",
        "CREATE DATABASE mine",
        "CREATE PUBLICATION mine",
    ],
    "roles": [
        "CREATE ROLE mine",
        "SET ROLE wordwave_owner",
        "SET ROLE wordwave_writer",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE wordwave_analyst CONNECTION LIMIT -1",
        "ALTER ROLE wordwave_analyst SUPERUSER",
        "ALTER ROLE wordwave_writer PASSWORD 'mine'",
        "ALTER ROLE wordwave_analyst SET temp_file_limit = -1",
        "GRANT wordwave_owner TO wordwave_analyst",
        "SELECT rolpassword FROM pg_authid",
    ],
    "files and programs": [
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_read_binary_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT pg_ls_logdir()",
        "SELECT pg_stat_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_export(1, '/tmp/mine')",
        "LOAD 'dblink'",
    ],
    "locks": [
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_advisory_lock(1, 2)",
        "SELECT pg_advisory_lock(i) FROM generate_series(1, 200000) i",
        "SELECT pg_advisory_lock_shared(1)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_xact_lock_shared(1, 2)",
        "SELECT pg_try_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "SELECT pg_try_advisory_xact_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1)",
        "SELECT pg_advisory_unlock_all()",
        "SELECT txid_current()",
        "SELECT pg_current_xact_id()",
        "DO 'BEGIN LOCK TABLE public.clips IN ACCESS SHARE MODE; END'",
    ],
    "disk": [
        "SELECT lo_from_bytea(0, 'a')",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_put(1, 0, 'a')",
        "SELECT lowrite(0, 'a')",
        "SELECT lo_open(1, 131072)",
        "SELECT lo_truncate64(0, 1)",
        "SELECT pg_logical_emit_message(false, 'a', repeat('a', 1000000))",
        "SELECT pg_notify('a', 'b')",
        "SELECT pg_export_snapshot()",
        "SET temp_file_limit = -1",
    ],
    "other sessions": [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'wordwave_analyst'",
        "SELECT public.end_overdue_analysts('1 s')",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
        "ALTER SYSTEM SET fsync = off",
        "SET session_replication_role = replica",
    ],
}


@pytest.mark.parametrize("statement", [one for kind in REFUSED.values() for one in kind])
def test_an_analyst_changes_and_makes_nothing(database: Database, statement: str) -> None:
    """The list of what is refused; a writer is connected, so that there is a session to end."""
    refused = r"denied|must be|may (set|alter)|cannot (insert|update|delete)|not allowed"
    with (
        create_engine(database.url("writer"), poolclass=NullPool).connect(),
        pytest.raises(DBAPIError, match=refused),
    ):
        _run(database, "analyst", statement)


def test_an_analyst_connects_to_no_other_database(database: Database) -> None:
    for other in ("postgres", "template1"):
        with pytest.raises(OperationalError, match="permission denied for database"):
            create_engine(database.server.url("analyst", other), poolclass=NullPool).connect()


def test_analysts_leave_connections_for_everybody_else(database: Database) -> None:
    with create_engine(database.server.admin_url(), poolclass=NullPool).connect() as admin:
        analysts = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'wordwave_analyst'"
        connected = admin.execute(text(analysts)).scalar_one()  # to other databases of this server
    with ExitStack() as stack:
        analyst = create_engine(database.url("analyst"), poolclass=NullPool)
        for _ in range(20 - connected):
            stack.enter_context(analyst.connect())
        with pytest.raises(OperationalError, match="too many connections for role"):
            analyst.connect()
        _run(database, "writer", "SELECT 1")


def test_what_an_analyst_changed_of_its_role_is_restored(database: Database) -> None:
    _run(database, "analyst", "ALTER ROLE wordwave_analyst SET statement_timeout = 0")
    server = database.server
    bootstrap(server.admin_url(), database.name, {role: server.passwords[role_name(role)] for role in ROLES})
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "5min"
        assert connection.scalar(text("SHOW temp_file_limit")) == "4GB"


def test_an_analyst_may_connect_to_the_database_and_no_more(database: Database) -> None:
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as connection:
        privileges = text("SELECT has_database_privilege(:name, 'CREATE, TEMPORARY')")
        assert connection.scalar(privileges, {"name": database.name}) is False


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "ALTER TABLE clips ADD COLUMN mine integer",
        "DROP TABLE clips",
        "TRUNCATE clips",
        "CREATE INDEX mine ON clips (uri)",
        "DROP VIEW analytics.clips",
        "UPDATE alembic_version SET version_num = 'mine'",
    ],
)
def test_the_writer_changes_no_definition(database: Database, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"denied|must be owner|no privileges"):
        _run(database, "writer", statement)


def test_the_writer_works_on_every_table_and_deletes_from_none(database: Database) -> None:
    """Also for tables to come: a migration that forgets its grants fails here."""
    with create_engine(database.url("writer"), poolclass=NullPool).connect() as connection:
        for table in TABLES:
            privileges = {
                verb: connection.scalar(
                    text("SELECT has_table_privilege(:table, :verb)"), {"table": table, "verb": verb}
                )
                for verb in ("SELECT", "INSERT", "UPDATE", "DELETE")
            }
            is_written = table not in KEPT_BY_TRIGGERS
            is_changed = is_written and table not in FROZEN
            wanted = {"SELECT": True, "INSERT": is_written, "UPDATE": is_changed, "DELETE": False}
            assert privileges == wanted, table


def test_bootstrap_runs_again_and_in_psql_alike(postgres: EmbeddedServer, database: Database) -> None:
    passwords: dict[Role, str] = {role: f"it's {role}; --" for role in ROLES}
    original: dict[Role, str] = {role: postgres.passwords[role_name(role)] for role in ROLES}
    try:
        bootstrap(postgres.admin_url(), database.name, passwords)
        _connect(postgres, database, passwords)
        _run_psql(postgres, database, {role: password + "2" for role, password in passwords.items()})
        _connect(postgres, database, {role: password + "2" for role, password in passwords.items()})
    finally:
        bootstrap(postgres.admin_url(), database.name, original)
    _run(database, "writer", "SELECT 1")


def _connect(postgres: EmbeddedServer, database: Database, passwords: dict[Role, str]) -> None:
    changed = EmbeddedServer(
        postgres.home,
        postgres.socket_folder,
        {role_name(role): password for role, password in passwords.items()},
    )
    for role in ROLES:
        _run(Database(changed, database.name), role, "SELECT 1")


def test_bootstrap_warns_of_a_pgvector_that_is_not_used(postgres: EmbeddedServer, database: Database) -> None:
    passwords: dict[Role, str] = {role: postgres.passwords[role_name(role)] for role in ROLES}
    administrator = create_engine(
        postgres.admin_url(database.name), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with administrator.connect() as connection:
        connection.execute(text("DROP EXTENSION vector CASCADE"))
        connection.execute(text("CREATE EXTENSION vector SCHEMA public"))
        warned = _run_psql(postgres, database, passwords)
        assert "without pgvector, which is in schema public" in warned
        remedy = "ALTER EXTENSION vector SET SCHEMA vectors"
        assert remedy in warned
        connection.execute(text(remedy))
    assert "pgvector" not in _run_psql(postgres, database, passwords)


def _run_psql(postgres: EmbeddedServer, database: Database, passwords: dict[Role, str]) -> str:
    """Run bootstrap.sql, and return what it warns of."""
    psql = Host.of(postgres.home).binaries / "psql"
    variables = [f"--set={role}_password={password}" for role, password in passwords.items()]
    connection = ["-h", str(postgres.socket_folder), "-U", "postgres", "-d", database.name]
    finished = subprocess.run(
        [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *connection, *variables, "-f", str(BOOTSTRAP_SQL)],
        env={"PGPASSWORD": postgres.passwords["postgres"]},
        check=True,
        cwd=Path("/"),
        stderr=subprocess.PIPE,
        text=True,
    )
    return finished.stderr
