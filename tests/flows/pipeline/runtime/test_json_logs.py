"""JSON logs: one object a line, with the ids of the work, and no secret in any of them."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from flows.pipeline.runtime.json_logs import JsonFormatter, secrets_of
from flows.pipeline.runtime.telemetry import Figures, work_on_batch

SIGNED = "https://s3/calls/a.wav?X-Amz-Signature=0f5e&X-Amz-Credential=AKIAABCDEFGHIJKLMNOP"
TOLD = {
    "postgresql://writer:sesame@db/wordwave is away": "postgresql://***@db/wordwave is away",
    "postgresql://writer:ses/ame@db/wordwave": "postgresql://***@db/wordwave",
    "key ASIAABCDEFGHIJKLMNOP was refused": "key *** was refused",
    SIGNED: "https://s3/calls/a.wav?X-Amz-Signature=***&X-Amz-Credential=***",
    "connection to host=db password=sesame failed": "connection to host=db password=*** failed",
    '{"Authorization": "Basic d2F2ZTpzZXNhbWU="}': '{"Authorization": "Basic ***"}',
    "s3://calls/a@b.wav: 3 tokens": "s3://calls/a@b.wav: 3 tokens",
}


def record(message: str, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("flows", logging.WARNING, "file", 1, message, None, None)
    made.__dict__.update(more)
    return made


@pytest.mark.parametrize("message", TOLD)
def test_what_looks_like_a_secret_is_masked(message: str) -> None:
    assert json.loads(JsonFormatter().format(record(message)))["message"] == TOLD[message]


def test_the_secrets_of_the_environment_are_masked_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", "postgresql://writer:open%20sesame@db/wordwave")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "wordwave:hunter22")
    told = JsonFormatter().format(record("open sesame, open%20sesame, wJalrXUtnFEMI, hunter22 at db"))
    assert json.loads(told)["message"] == "***, ***, ***, *** at db"


def test_short_and_other_values_are_no_secrets() -> None:
    assert secrets_of(
        {"A_PASSWORD": "", "B_PASSWORD": "abc", "HOME": "/root/home", "X_SECRET": "abcdef"}
    ) == ["abcdef"]


def test_a_line_says_where_in_which_run_it_comes_from() -> None:
    run = uuid4()
    with work_on_batch(run, "tokenize", 2, Figures()):
        line = json.loads(
            JsonFormatter().format(record("done", flow_run_id="f1", task_run_name="tokenize 2"))
        )
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "flows",
        "message": "done",
        "flow_run_id": "f1",
        "task_run_name": "tokenize 2",
        "run": str(run),
        "stage": "tokenize",
        "batch": 2,
    }


def test_a_traceback_is_one_line_and_masked() -> None:
    try:
        raise ValueError("postgresql://writer:sesame@db")
    except ValueError:
        line = JsonFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "sesame" not in line
    assert "Traceback" in json.loads(line)["traceback"]


def logged(code: str, home: Path, **environment: str) -> list[str]:
    """The lines that a process writes to stderr."""
    given = os.environ | {"WORDWAVE_HOME": str(home), "PREFECT_HOME": str(home)} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=120
    )
    return done.stderr.splitlines()


COMMAND = """
import logging, sys
from flows.cli import main as cli
sys.argv = ["wordwave", "--version"]
cli.wordwave = lambda: logging.getLogger("here").warning("told \\x1b[31m")
cli.main()
from prefect.logging.configuration import setup_logging
setup_logging()
import warnings
warnings.warn("soon gone")
logging.getLogger("prefect.client").error("a long line of Prefect %s", "word " * 60)
"""


def test_the_switch_holds_for_the_command_and_for_what_prefect_logs(tmp_path: Path) -> None:
    lines = logged(COMMAND, tmp_path, WORDWAVE_LOG_FORMAT="json")
    assert [json.loads(line)["logger"] for line in lines] == ["here", "py.warnings", "prefect.client"]
    assert logged(COMMAND, tmp_path, WORDWAVE_LOG_FORMAT="text")[0] == "WARNING told \\u001b[31m"
