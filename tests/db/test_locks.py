"""One process works on a partition; the next is told who that is; a killed one holds nothing."""

import os
import subprocess
import sys

import pytest

from db.engine import make_engine, session_scope
from db.locks import PartitionBusy, partition_lock
from tests.db.rows import FOLDER, make_run
from tests.fixtures_postgres import Database, administer

HOLD = """
import sys
from db.locks import partition_lock
with partition_lock(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_partition_is_refused_with_the_holders_process_and_run(database_url: str) -> None:
    engine = make_engine(database_url)
    with partition_lock(database_url, FOLDER):
        with session_scope(engine) as session:
            run_id = make_run(session)
        with (
            pytest.raises(PartitionBusy, match=rf"pid {os.getpid()} .*run {run_id}"),
            partition_lock(database_url, FOLDER),
        ):
            pass
        with partition_lock(database_url, "another partition"):
            pass
    with partition_lock(database_url, FOLDER):
        pass
    engine.dispose()


def test_a_partition_is_free_when_its_holder_was_killed(database_url: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, database_url, FOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(PartitionBusy, match=f"pid {holder.pid}"), partition_lock(database_url, FOLDER):
            pass
        holder.kill()
    _take_soon(database_url)


def _take_soon(database_url: str) -> None:
    """Retry: the server notices a death when it next looks at the connection."""
    for _ in range(200):
        try:
            with partition_lock(database_url, FOLDER):
                return
        except PartitionBusy:
            continue
    raise AssertionError("the partition stays held by a dead process")


def test_an_error_in_the_block_frees_the_partition(database_url: str) -> None:
    with pytest.raises(KeyError), partition_lock(database_url, FOLDER):
        raise KeyError
    with partition_lock(database_url, FOLDER):
        pass


def test_a_lock_whose_connection_was_cut_is_taken_again(database: Database) -> None:
    url = database.url("writer")
    with partition_lock(url, FOLDER) as lock:
        cut_connections(database)
        lock.check()
        with pytest.raises(PartitionBusy), partition_lock(url, FOLDER):
            pass
        lock.check()


def test_a_lock_that_another_process_has_taken_meanwhile_is_lost(database: Database) -> None:
    url = database.url("writer")
    with partition_lock(url, FOLDER) as lock:
        cut_connections(database)
        with partition_lock(url, FOLDER), pytest.raises(PartitionBusy, match="wait for it to end"):
            lock.check()


def test_a_partition_that_another_role_holds_is_refused_without_a_date(database: Database) -> None:
    with (
        partition_lock(database.url("owner"), FOLDER),
        pytest.raises(PartitionBusy, match=r"is held by .*: wait for it to end"),
        partition_lock(database.url("writer"), FOLDER),
    ):
        pass


def cut_connections(database: Database) -> None:
    """Cut connections like an administrator, a failover or an idle timeout."""
    administer(
        database.server,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'",
    )
