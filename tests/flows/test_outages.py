"""A store that is stopped in the middle of a night, for less and for longer than a run waits."""

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.pipeline.runs.outage import Away
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.faults.proxy import Fault, Proxy, proxy_before
from tests.fixtures_postgres import Database
from tests.fixtures_s3 import S3Bucket
from tests.flows.final_state import final_state

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]
AWAY = Away("the store", 900, "nobody there")
WAITED_SECONDS = 24.0
DAYS = {"2026-11-20": 205, "2026-11-21": 209}
CLIPS = range(6)


@pytest.mark.parametrize(
    ("error", "retries", "tries"),
    [(AWAY, 3, 3), (AWAY, 1, 2), (ValueError("no"), 3, 1)],
)
def test_a_flow_is_retried_after_an_outage_and_after_nothing_else(
    worker: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, retries: int, tries: int
) -> None:
    from flows.flow_runs.form_flow import flow

    monkeypatch.setenv("WORDWAVE_OUTAGE_RETRIES", str(retries))
    monkeypatch.setenv("WORDWAVE_OUTAGE_RETRY_DELAY", "0")
    tried: list[int] = []

    @flow(name="outage")
    def outage() -> str:
        tried.append(1)
        if len(tried) < 3:
            raise error
        return "done"

    if tries == 3:
        assert outage() == "done"
    else:
        with pytest.raises(type(error)):
            outage()
    assert len(tried) == tries


@dataclass
class Stopped(Fault):
    """The store answers nothing for some seconds from its n-th GET on."""

    seconds: float = 0.0
    began: float | None = field(default=None, init=False)

    def hits(self, operation: object) -> bool:
        self.seen += operation == "GET"
        if self.seen > self.first and self.began is None:
            self.began = time.monotonic()
        hit = self.began is not None and time.monotonic() < self.began + self.seconds
        self.injected += hit
        return hit


@pytest.fixture
def store(
    library: str, worker: Path, s3: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Proxy, S3Bucket]]:
    """A bucket of two days' clips, results in it too, behind a proxy that can stop it."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    shared_runtime(Settings()).close()
    for day, hertz in DAYS.items():
        for number in CLIPS:
            s3.put(f"{day}/{number}.wav", tone(hertz + 10 * number))
    with proxy_before(s3.endpoint) as proxy:
        for name, value in {
            "READ_ROOTS": f"{worker},{s3.uri}",
            "STORAGE_URI": f"{s3.uri}/results",
            "S3_ENDPOINT_URL": proxy.url,
            "BATCH_SIZE": "2",
            "OUTAGE_TIMEOUT": str(WAITED_SECONDS),
            "OUTAGE_RETRIES": "0",
        }.items():
            monkeypatch.setenv(f"WORDWAVE_{name}", value)
        yield proxy, s3


def lines_about_it(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Every line of the log, tracebacks included, that comes of the outage."""
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    texts = [logging.Formatter().format(record) for record in records]
    return [line for text in texts for line in text.splitlines()]


ANSWERED = """
    SELECT c.uri, count(p.id) AS answers FROM clips c
    LEFT JOIN predictions p ON p.content_sha256 = c.content_sha256 WHERE c.uri LIKE 's3://%' GROUP BY c.uri"""


def answers(database: Database) -> Counter[str]:
    found = rows(database.url("writer"), ANSWERED)
    return Counter({row["uri"].partition("/")[2].partition("/")[2]: row["answers"] for row in found})


@pytest.mark.slow
def test_a_store_that_is_away_for_a_third_of_the_bound_costs_no_night(
    store: tuple[Proxy, S3Bucket], library: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.nightly import nightly_labeling

    proxy, s3 = store
    proxy.fault = Stopped("GET", "reset before", first=2, seconds=WAITED_SECONDS / 3)
    done = nightly_labeling(f"{s3.uri}/{{day}}", library, day="2026-11-20")
    assert proxy.fault.injected > 0
    assert (done["label.labeled"], done["export.rows"]) == (len(CLIPS), len(CLIPS))
    assert set(answers(database).values()) == {1}
    assert len(lines_about_it(caplog)) <= 4


@pytest.mark.slow
def test_after_an_outage_past_the_bound_the_next_night_makes_up_for_the_day(
    store: tuple[Proxy, S3Bucket], library: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.nightly import nightly_labeling

    proxy, s3 = store
    proxy.fault = Stopped("GET", "reset before", first=2, seconds=10_000)
    state = final_state(nightly_labeling, f"{s3.uri}/{{day}}", library, day="2026-11-20")
    assert state.is_failed()
    assert "the store is away, " in str(state.message)
    assert " clips left, the retry finds them" in str(state.message)
    assert len(lines_about_it(caplog)) <= 20, json.dumps(lines_about_it(caplog), indent=1)
    proxy.fault = None
    nightly_labeling(f"{s3.uri}/{{day}}", library, day="2026-11-21")
    runs = rows(
        database.url("writer"),
        "SELECT day::text, status FROM runs WHERE kind = 'nightly-labeling' ORDER BY started_at",
    )
    assert [(run["day"], run["status"]) for run in runs] == [
        ("2026-11-20", "failed"),
        ("2026-11-21", "completed"),
        ("2026-11-20", "completed"),
    ]
    assert len(answers(database)) == 2 * len(CLIPS)
    assert set(answers(database).values()) == {1}
    manifests = s3.client.list_objects_v2(Bucket=s3.bucket, Prefix="results/runs/")["Contents"]
    assert sum(entry["Key"].endswith("/manifest.json") for entry in manifests) == 2
    nightly_labeling(f"{s3.uri}/{{day}}", library, day="2026-11-21")
    assert len(rows(database.url("writer"), "SELECT FROM runs WHERE kind = 'nightly-labeling'")) == 4
