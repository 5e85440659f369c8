"""Batches as Prefect tasks: what may get better is tried again, what will not is not."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.outage import Away
from flows.pipeline.storage import Fetched, Storage, StorageRefused
from tests.e2e.s3_log import recorded
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database
from tests.fixtures_s3 import S3Bucket

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")

SLOW_DOWN = ClientError(
    {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}},  # type: ignore[typeddict-item]
    "GetObject",
)


@dataclass
class Stuttering:
    """A storage whose first read fails as an overloaded store does."""

    storage: Storage
    reads: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, uri: str, version_token: str, size: int | None = None) -> AbstractContextManager[Fetched]:
        with self.lock:
            self.reads.append(uri)
            if len(self.reads) == 1:
                raise SLOW_DOWN
        return self.storage.read(uri, version_token, size)


def run_flow(step: Callable[[Any], Counts], batches: list[list[Any]]) -> tuple[list[Counts], UUID]:
    """The step over batches as tasks of a flow, and the id of the flow's run."""
    from prefect import flow
    from prefect.runtime import flow_run

    from flows.batches import batch_threads, in_tasks

    ids = []

    @flow(task_runner=batch_threads())
    def a_flow() -> list[Counts]:
        ids.append(UUID(flow_run.id))
        return list(in_tasks("stage", step, batches))

    return a_flow(), ids[0]


def task_runs(flow_run_id: UUID) -> dict[str, int]:
    """How often each task of a flow's run was tried."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return {run.name: run.run_count for run in client.read_task_runs(flow_run_filter=wanted)}


def test_a_store_that_stutters_is_asked_again_and_a_bad_clip_is_not(worker: Path, database: Database) -> None:
    from flows.pipeline.clips.ingest import ingest
    from flows.pipeline.clips.tokenize_clips import batches_to_tokenize, tokenize_batch
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runs.run import recorded_run
    from flows.pipeline.runtime.resources import shared_runtime
    from flows.pipeline.storage import canonical

    (worker / "good.wav").write_bytes(tone(210))
    (worker / "cut.wav").write_bytes(tone(400)[:-400])
    runtime, place = shared_runtime(Settings()), canonical(str(worker))
    stuttering = Stuttering(runtime.storage(place))
    with recorded_run(runtime, "test", place, {}) as run:
        ingest(runtime, place)
        batches = batches_to_tokenize(runtime, place, 10)
        counts, flow_run_id = run_flow(
            lambda batch: run.breaker.run(lambda: tokenize_batch(runtime, stuttering, batch, run.claim)),
            batches,
        )
    assert [count["tokenized"] for count in counts] == [1]
    assert task_runs(flow_run_id) == {"stage 1": 1}
    assert len(stuttering.reads) > len(set(stuttering.reads))
    quarantined = rows(database.url("writer"), "SELECT reason, attempts FROM quarantine")
    assert quarantined == [{"reason": "truncated", "attempts": 1}]


def test_what_will_not_get_better_is_tried_once_and_stops_no_other_batch(prefect_server: None) -> None:
    tried: list[str] = []

    def step(batch: list[str]) -> Counts:
        tried.extend(batch)
        if "refused" in batch:
            raise StorageRefused("not on the list")
        return Counts(done=len(batch))

    with pytest.raises(StorageRefused, match="not on the list"):
        run_flow(step, [["refused"], ["first"], ["second"]])
    assert sorted(tried) == ["first", "refused", "second"]


def test_nothing_is_begun_after_a_batch_that_waited_in_vain(
    prefect_server: None, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    def step(batch: list[int]) -> Counts:
        tried.extend(batch)
        raise Away("the store", 900, "nobody there")

    with pytest.raises(Away, match="the store is away"):
        run_flow(step, [[number] for number in range(50)])
    assert len(tried) <= 4
    assert "Traceback" not in "".join(r.getMessage() for r in caplog.records if "task" in r.name)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("batches", "each"), [(1, 4), (2, 2), (5, 2)])
def test_the_batches_of_a_stage_share_out_the_cores(
    prefect_server: None, tmp_path: Path, batches: int, each: int
) -> None:
    import torch

    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import Runtime

    runtime = Runtime(Settings(home=tmp_path, device="cpu"))

    def step(batch: list[str]) -> Counts:
        with runtime.device_lock():
            return Counts(cores=torch.get_num_threads())

    counts, _ = run_flow(step, [["clip"]] * batches)
    assert [count["cores"] for count in counts] == [each] * batches


CLIPS = {f"{number}.wav": tone(205 + 10 * number) for number in range(5)}
UNLUCKY = "3.wav"


def refuse(database: Database, table: str, data: bytes) -> None:
    """Lets the database refuse the row of one content, as a full disk would: for no fault of the clip."""
    administer(
        database,
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.content_sha256 = '\\x{sha256(data).hexdigest()}' THEN RAISE 'no space left'; END IF;
          RETURN NEW;
        END $$
        """,
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    )


def administer(database: Database, *statements: str) -> None:
    engine = create_engine(database.url("owner"), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("table", "left", "read_again"),
    [
        ("token_sequences", {"tokenize.tokenized": 1, "label.labeled": 5}, [UNLUCKY]),
        ("predictions", {"label.labeled": 1}, []),
    ],
)
def test_after_a_batch_that_failed_the_next_run_does_that_batch_alone(
    library: str,
    worker: Path,
    database: Database,
    s3: S3Bucket,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    left: dict[str, int],
    read_again: list[str],
) -> None:
    from flows.nightly import nightly_labeling
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    shared_runtime(Settings()).close()
    monkeypatch.setenv("WORDWAVE_READ_ROOTS", f"{worker},{s3.uri}")
    monkeypatch.setenv("WORDWAVE_BATCH_SIZE", "1")
    for name, data in CLIPS.items():
        s3.put(f"day/{name}", data)
    refuse(database, table, CLIPS[UNLUCKY])
    with pytest.raises(DBAPIError, match="no space left"):
        nightly_labeling(f"{s3.uri}/day", library, day="any")
    [failed] = rows(database.url("writer"), "SELECT status, counts FROM runs WHERE kind = 'nightly-labeling'")
    stage = next(iter(left))
    assert (failed["status"], failed["counts"][stage]) == ("failed", len(CLIPS) - 1)
    administer(database, f"DROP TRIGGER refuse ON {table}")
    with recorded() as requests:
        done = nightly_labeling(f"{s3.uri}/day", library, day="any")
    names = [request.path.rpartition("/")[2] for request in requests if request.reads_object]
    assert names == read_again
    worked = {name: done[name] for name in ("tokenize.tokenized", "label.labeled") if done.get(name)}
    assert worked == left
    assert done["export.rows"] == len(CLIPS)
