"""The scripts of the stack, run for real: secrets, entrypoint, first start of Postgres, buckets."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from db.bootstrap import BOOTSTRAP_SQL
from db.embedded import server as embedded
from db.embedded.host import Host
from db.embedded.server import EmbeddedServer
from db.engine import database_url
from flows.pipeline.runtime.json_logs import PREFECT_ENVIRONMENT
from migrations.upgrade import check, upgrade
from tests.docker.recipes import DOCKER, ROOT, compose
from tests.fixtures_postgres import Database, administer
from tests.fixtures_s3 import S3Bucket


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What make-secrets.sh draws, in a folder of its own."""
    script = tmp_path / "make-secrets.sh"
    shutil.copy(DOCKER / script.name, script)
    for _ in range(2):
        subprocess.run([script], check=True, capture_output=True)
    return tmp_path / "secrets"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, env=kept | environment, capture_output=True, text=True)


def test_every_secret_of_the_stack_is_drawn_once_behind_a_closed_folder(secrets: Path) -> None:
    drawn = {path.name: path.read_text() for path in secrets.iterdir()}
    assert compose()["secrets"].keys() <= drawn.keys()
    assert len(set(drawn.values())) == len(drawn)
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o644}
    subprocess.run([secrets.parent / "make-secrets.sh"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == drawn


def test_workers_may_read_clips_and_write_results_and_nothing_else(secrets: Path) -> None:
    listed = json.loads((secrets / "s3_identities").read_text())["identities"]
    found = {one["name"]: set(one["actions"]) for one in listed}
    assert found["workers"] == {"Read:clips", "List:clips", "Read:results", "List:results", "Write:results"}
    (secrets.parent / ".env").write_text("CLIPS_BUCKET=calls\n")
    subprocess.run([secrets.parent / "make-secrets.sh"], check=True, capture_output=True)
    assert '"Read:calls"' in (secrets / "s3_identities").read_text()
    keys = {one["name"]: one["credentials"][0]["accessKey"] for one in listed}
    assert keys["workers"] in (secrets / "s3_credentials").read_text()
    assert keys["administrator"] in (secrets / "s3_admin_credentials").read_text()


def test_the_entrypoint_gives_a_command_its_secrets_and_leaves_other_files_alone(secrets: Path) -> None:
    given = {
        "WORDWAVE_DATABASE_URL__FILE": str(secrets / "database_url"),
        "AWS_SHARED_CREDENTIALS_FILE": str(secrets / "s3_credentials"),
    }
    seen = run(DOCKER / "entrypoint.sh", "env", **given).stdout.splitlines()
    assert f"WORDWAVE_DATABASE_URL={(secrets / 'database_url').read_text().strip()}" in seen
    assert f"AWS_SHARED_CREDENTIALS_FILE={secrets / 's3_credentials'}" in seen
    assert not [line for line in seen if "__FILE=" in line]


def test_the_entrypoint_hands_on_arguments_and_exit_status() -> None:
    ended = run(DOCKER / "entrypoint.sh", "sh", "-c", 'printf %s "$1"; exit 7', "sh", "a b'c")
    assert (ended.returncode, ended.stdout) == (7, "a b'c")


def test_a_secret_that_is_not_there_is_named() -> None:
    refused = run(DOCKER / "entrypoint.sh", "env", WORDWAVE_DATABASE_URL__FILE="/run/secrets/nowhere")
    assert refused.returncode == 1
    assert "WORDWAVE_DATABASE_URL__FILE: /run/secrets/nowhere cannot be read" in refused.stderr


def test_a_worker_waits_until_the_schema_is_there(database: Database) -> None:
    def wait(url: str) -> subprocess.Popen[str]:
        environment = {"WORDWAVE_DATABASE_URL": url, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        command = [sys.executable, str(DOCKER / "wait_for_schema.py")]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    with wait(database.url("writer")) as done:
        assert (done.wait(60), done.communicate()[1]) == (0, "")
    elsewhere = make_url(database.url("writer")).set(database="nowhere")
    with wait(elsewhere.render_as_string(hide_password=False)) as waiting:
        assert waiting.stderr
        assert 'database "nowhere" does not exist' in waiting.stderr.readline()
        assert waiting.poll() is None
        waiting.kill()


@pytest.fixture
def fresh_postgres() -> Iterator[EmbeddedServer]:
    """A server as it is when the container first starts: without our database."""
    home = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    home.chmod(0o711)
    try:
        server = embedded.start(home)
        administer(server, "DROP DATABASE wordwave")
        yield server
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


def test_postgres_starts_with_our_roles_their_passwords_and_a_database_for_prefect(
    fresh_postgres: EmbeddedServer, secrets: Path, tmp_path: Path
) -> None:
    script = tmp_path / "initdb.sql"
    written = (DOCKER / "initdb.sql").read_text()
    script.write_text(
        written.replace("/run/secrets", str(secrets)).replace("/opt/bootstrap.sql", str(BOOTSTRAP_SQL))
    )
    psql = Host.of(fresh_postgres.home).binaries / "psql"
    address = fresh_postgres.admin_url().replace("postgresql+psycopg2", "postgresql")
    made = run(psql, "--set=ON_ERROR_STOP=1", f"--file={script}", address)
    assert made.returncode == 0, made.stderr

    upgrade(local(fresh_postgres, secrets / "owner_database_url"))
    check(local(fresh_postgres, secrets / "owner_database_url"))
    assert who(local(fresh_postgres, secrets / "database_url")) == "wordwave_writer"
    prefect = local(fresh_postgres, secrets / "prefect_database_url")
    assert who(prefect) == "prefect"
    ours = make_url(prefect).set(database="wordwave").render_as_string(hide_password=False)
    with pytest.raises(OperationalError, match="permission denied"):
        who(ours)


def local(server: EmbeddedServer, secret: Path) -> str:
    """The address of a secret, at this server instead of the stack's."""
    url = make_url(secret.read_text().strip().replace("+asyncpg", ""))
    assert url.host == "postgres"
    here = url.set(host=None, query={"host": str(server.socket_folder)})
    return database_url(here.render_as_string(hide_password=False))


def who(url: str) -> str | None:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        user: str | None = connection.scalar(text("SELECT current_user"))
        return user


def test_buckets_are_made_once(s3: S3Bucket, secrets: Path) -> None:
    """With the credentials file that the containers mount."""
    given = {
        "WORDWAVE_S3_ENDPOINT_URL": s3.endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": str(secrets / "s3_admin_credentials"),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    names = [f"{s3.bucket}-clips", f"{s3.bucket}-results"]
    for _ in range(2):
        made = run(sys.executable, DOCKER / "make_buckets.py", *names, **given)
        assert made.returncode == 0, made.stderr
    buckets = {bucket["Name"] for bucket in s3.client.list_buckets()["Buckets"]}
    assert set(names) <= buckets
    assert boto3.client("s3").head_bucket(Bucket=names[0])


def test_the_entrypoint_makes_prefect_log_as_the_switch_says() -> None:
    asked = run(DOCKER / "entrypoint.sh", "env", WORDWAVE_LOG_FORMAT="json").stdout.splitlines()
    assert {f"{name}={value}" for name, value in PREFECT_ENVIRONMENT.items()} <= set(asked)
    assert "PREFECT_LOGGING" not in run(DOCKER / "entrypoint.sh", "env", WORDWAVE_LOG_FORMAT="text").stdout
