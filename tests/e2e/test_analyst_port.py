"""`wordwave up --analyst-port` opens the embedded Postgres to analysts' clients, and to nobody else."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from db.embedded import server as embedded
from tests.db.test_roles import REFUSED
from tests.e2e.service import free_port, serving

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of its own embedded Postgres, with a path short enough for its socket."""
    folder = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder / "home"
    embedded.stop(folder / "home")
    shutil.rmtree(folder)


def analyst_url(home: Path) -> str:
    """The address as the command line prints it."""
    command = [sys.executable, "-m", "flows.cli", "analyst-url"]
    given = {**os.environ, "WORDWAVE_HOME": str(home)}
    said = subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^Address +(\S+)$", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_an_analyst_reads_views_over_tcp_and_is_refused_the_rest(home: Path) -> None:
    port = free_port()
    with serving({"WORDWAVE_LLM": "none"}, home, "--analyst-port", str(port)) as service:
        address = analyst_url(home)
        assert f"@127.0.0.1:{port}/" in address
        connection = psycopg2.connect(address)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT inet_server_addr(), current_user, count(*) FROM labels")
            assert cursor.fetchone() == (None, "wordwave_analyst", 0)  # the port leads to the socket
            cursor.execute("SET default_transaction_read_only = off")
            for statement in (one for kind in REFUSED.values() for one in kind):
                with pytest.raises(psycopg2.Error) as refused:
                    cursor.execute(statement)
                assert refused.value.pgcode not in (None, "42601"), statement  # by Postgres, and no slip
        connection.close()
        with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
            psycopg2.connect(re.sub(r"passfile=.*", "passfile=/nothing", address))
        assert service.interrupt() == 0
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        psycopg2.connect(address)
