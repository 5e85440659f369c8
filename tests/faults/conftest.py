"""The scene of all faults, and the table of what came of them."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from botocore.retries.standard import ExponentialBackoff

from db.embedded.server import EmbeddedServer
from flows.pipeline.runs import outage
from tests.e2e.conftest import CREDENTIALS
from tests.faults.proxy import Proxy, proxy_before
from tests.faults.scene import Scene, Stage, Verdict, put_world, settings_of, shared_by_all
from tests.fixtures_postgres import administer, make_database
from tests.fixtures_s3 import S3Bucket

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

COLUMNS = ("lost", "doubled", "torn", "wrong")
SEED = int(os.environ.get("SEED", "1"))


@dataclass
class Table:
    """What came of every fault, by its name."""

    rows: dict[str, list[Verdict]] = field(default_factory=lambda: defaultdict(list))

    def lines(self) -> Iterator[str]:
        """Yield the table, one line a fault."""
        yield f"{'fault':<34}{'nights':>7}{'injected':>9}" + "".join(f"{n:>8}" for n in (*COLUMNS, "unclear"))
        for name, verdicts in self.rows.items():
            yield self._line(name, verdicts)
        yield self._line("total", [verdict for verdicts in self.rows.values() for verdict in verdicts])

    def _line(self, name: str, verdicts: list[Verdict]) -> str:
        kinds: list[str] = [finding.kind for verdict in verdicts for finding in verdict.found]
        unclear = sum(len(verdict.unclear) for verdict in verdicts)
        counts = [*(kinds.count(column) for column in COLUMNS), unclear]
        injected = sum(verdict.injected for verdict in verdicts)
        return f"{name:<34}{len(verdicts):>7}{injected:>9}" + "".join(f"{count:>8}" for count in counts)


TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty table."""
    config.stash[TABLE] = Table()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table where anything was injected."""
    if config.stash[TABLE].rows:
        terminalreporter.section("faults")
        for line in config.stash[TABLE].lines():
            terminalreporter.write_line(line)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, Verdict], None]:
    """Enter a verdict into the table, and fail where it is not all zeros."""

    def entered(name: str, verdict: Verdict) -> None:
        request.config.stash[TABLE].rows[name].append(verdict)
        assert verdict.injected > 0, "the fault hit nothing"
        assert [*map(str, verdict.found), *verdict.unclear] == []

    return entered


@pytest.fixture(scope="session")
def proxy(s3_endpoint: str) -> Iterator[Proxy]:
    """A proxy before the S3 server, without a fault."""
    with proxy_before(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def environment() -> Iterator[None]:
    """What boto3 needs, and no pauses between the tries of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outage, "PAUSES_SECONDS", (0.0,) * len(outage.PAUSES_SECONDS))
        patch.setattr(outage, "FIRST_WAIT_SECONDS", 0.01)
        patch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", params=["checksums", "no checksums"])
def scene(
    request: pytest.FixtureRequest,
    environment: None,
    proxy: Proxy,
    s3_endpoint: str,
    s3_client: "S3Client",
    postgres: EmbeddedServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """Clips whose objects have checksums, or have none."""

    def new_bucket() -> S3Bucket:
        name = f"faults-{uuid4().hex[:12]}"
        s3_client.create_bucket(Bucket=name)
        return S3Bucket(s3_endpoint, name, s3_client)

    bucket = new_bucket()
    put_world(bucket, checksums=request.param == "checksums")
    home, template = tmp_path_factory.mktemp("home"), f"scene_{uuid4().hex[:8]}"
    administer(postgres, f"CREATE DATABASE {template} TEMPLATE {migrated_template}")
    database = make_database(postgres, template)
    with shared_by_all(settings_of(bucket, proxy, home)) as shared:
        scene = Scene(bucket, proxy, postgres, template, home, shared, new_bucket)
        Stage(scene, database, new_bucket()).import_library()
        yield scene.undisturbed()


@pytest.fixture
def stage(scene: Scene) -> Iterator[Stage]:
    """A fresh database and bucket."""
    with scene.fresh() as stage:
        yield stage
