"""What analysts use reads what is written for them: in environments of their own, from the package index."""

import json
import os
import re
import shlex
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from docs.generator.dbt import sources_file
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.files.huggingface import write_dataset
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.server.analysts.address import analyst_address
from tests.docs.blocks import ROOT
from tests.e2e.world import REQUEST, import_into, tone
from tests.fixtures_postgres import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]

DAYS = ("2026-11-21", "2026-11-22")
READERS = ("duckdb", "polars", "datasets", "nbclient", "ipykernel")
DBT = ("dbt-core>=1.10.5,<1.12", "dbt-postgres>=1.9,<2")
"""From 1.12 on, a part of it is loaded from another place than the package index."""

READ = """
import json, sys
import datasets, duckdb, pandas, polars

lake, dataset = sys.argv[1:]
files = f"{lake}/labels/*/*/*.parquet"
found = {
    "duckdb": duckdb.sql(
        f"SELECT day::text, status, count(*) FROM read_parquet('{files}') GROUP BY ALL").fetchall(),
    "pandas": [(*key, int(n)) for key, n in
        pandas.read_parquet(f"{lake}/labels").value_counts(["day", "status"]).items() if n],
    "polars": polars.read_parquet(files).select(
        polars.col("day").cast(polars.String), "status").group_by("day", "status").len().rows(),
    "tokens": duckdb.sql(
        f"SELECT sum(len(semantic)) FROM read_parquet('{lake}/tokens/*/*/*.parquet')").fetchall(),
    "polars tokens": polars.read_parquet(f"{lake}/tokens/*/*/*.parquet")["semantic"].list.len().sum(),
}
rows = datasets.load_dataset("parquet", data_files=files, split="train")
found["datasets"] = sorted({(row["day"], row["status"]) for row in rows})
audio = datasets.load_dataset(dataset, split="train")
found["features"] = [type(audio.features[name]).__name__ for name in ("audio", "label")]
found["names"] = audio.features["label"].names
plain = audio.cast_column("audio", datasets.Audio(decode=False))
found["audio"] = [[row["audio"]["path"], len(row["audio"]["bytes"]), row["label"]] for row in plain]
print(json.dumps(found, default=str))
"""
RUN_NOTEBOOK = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": "."}}).execute()
print(book.cells[-1].outputs[-1]["data"]["text/plain"])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = (ROOT / "docs" / "analysts.md").read_text(encoding="utf-8")
    documented = re.search(r"^pip install (pandas .*)$", page, re.MULTILINE)
    assert documented
    return make_environment(tmp_path_factory.mktemp("readers"), (*shlex.split(documented[1]), *READERS))


def make_environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """An environment with these packages; its programs."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
    return folder / "bin"


@pytest.fixture
def runtime(database: Database, tmp_path: Path) -> Iterator[Runtime]:
    """A runtime whose two nights are done: two clips that are labeled and one that is cut, each."""
    clips = tmp_path / "clips"
    for number, day in enumerate(DAYS):
        (clips / day).mkdir(parents=True)
        for name, hertz in (("low", 210), ("high", 2900)):
            (clips / day / f"{name}.wav").write_bytes(tone(hertz + 7 * number))
        (clips / day / "cut.wav").write_bytes(tone(400)[:-400])
    library = tmp_path / "library"
    library.mkdir()
    labels = {"low.wav": 200, "high.wav": 3000}
    for name, hertz in labels.items():
        (library / name).write_bytes(tone(hertz))
    rows = [json.dumps({"path": name, "label": name.removesuffix(".wav")}) for name in labels]
    (library / "sounds.jsonl").write_text("\n".join(rows))
    settings = Settings(
        home=tmp_path / "home",
        database_url=database.url("writer"),
        analyst_database_url=database.url("analyst"),
        read_roots=(str(clips), str(library)),
    )
    runtime = Runtime(settings)
    import_into(runtime, str(library / "sounds.jsonl"))
    for day in DAYS:
        partition = partition_of(f"{clips}/{{day}}", day)
        run_night(runtime, partition, REQUEST, with_bar, kind="nightly-labeling", export=True)
    yield runtime
    runtime.close()


def test_duckdb_pandas_polars_and_datasets_read_the_files(
    runtime: Runtime, environment: Path, tmp_path: Path
) -> None:
    write_dataset(runtime, str(tmp_path / "clips"), "sounds", tmp_path / "dataset")
    script = tmp_path / "read.py"
    script.write_text(READ)
    done = subprocess.run(
        [environment / "python", script, runtime.settings.storage_uri, tmp_path / "dataset"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = sorted(
        [day, status, count] for day in DAYS for status, count in (("labeled", 2), ("quarantined", 1))
    )
    for reader in ("duckdb", "pandas", "polars"):
        assert sorted(found[reader]) == wanted, reader
    assert found["datasets"] == [row[:2] for row in wanted]
    assert found["tokens"] == [[found["polars tokens"]]]
    assert found["features"] == ["Audio", "ClassLabel"]
    assert found["names"] == ["high", "low"]
    size = len(tone(210))
    assert sorted(found["audio"]) == sorted([["high.wav", size, 0], ["low.wav", size, 1]] * 2)


def test_the_notebook_runs_to_its_end(runtime: Runtime, environment: Path, tmp_path: Path) -> None:
    address = analyst_address(runtime.settings)
    script = tmp_path / "run_notebook.py"
    script.write_text(RUN_NOTEBOOK)
    done = subprocess.run(
        [environment / "python", script, ROOT / "docs" / "notebooks" / "first-look.ipynb"],
        env={
            "HOME": str(tmp_path),
            "PATH": f"{environment}:{os.environ['PATH']}",
            "ANALYST_URL": address.url,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 2  # the words of a clip


def test_dbt_takes_the_sources_and_its_tests_pass(
    runtime: Runtime, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    programs = make_environment(tmp_path_factory.mktemp("dbt"), DBT)
    project = tmp_path_factory.mktemp("project")
    (project / "models").mkdir()
    (project / "models" / "sources.yml").write_text(sources_file(database.url("owner")))
    (project / "dbt_project.yml").write_text("name: analysis\nversion: '1.0.0'\nprofile: wordwave\n")
    url = make_url(database.url("analyst"))
    profile = {
        "type": "postgres", "host": url.query["host"], "port": 5432, "user": url.username,
        "password": url.password, "dbname": url.database, "schema": "analytics", "threads": 1,
    }  # fmt: skip
    profiles = {"wordwave": {"target": "it", "outputs": {"it": profile}}}
    (project / "profiles.yml").write_text(json.dumps(profiles))
    for command in (["parse", "--warn-error"], ["source", "freshness"], ["test"]):
        done = subprocess.run(
            [programs / "dbt", *command, "--profiles-dir", project],
            cwd=project,
            env={"HOME": str(project), "PATH": os.environ["PATH"], "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert "PASS=" in done.stdout
