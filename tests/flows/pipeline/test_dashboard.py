"""Grafana's dashboard: provisioned by compose, asks for what the exporter has, and its panels have data."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.samples import Sample

from db.runs import RunClaim
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.exporter import DATABASE_UP, FAMILIES, exporter
from flows.pipeline.runtime.resources import Runtime
from tests.docker.recipes import DOCKER, compose
from tests.e2e.service import free_port
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, tone, write_clip
from tests.flows.pipeline.test_figures import samples, scraped

DASHBOARD = json.loads((DOCKER / "grafana/dashboards/wordwave.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SELECTOR = re.compile(r"(wordwave_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
PATIENCE = 60.0


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def served() -> dict[str, set[str]]:
    """Name of each sample that the exporter may have -> its labels."""
    suffix = {"counter": "_total", "gauge": ""}
    names = {family.name + suffix[family.kind]: set(family.labels) for family in FAMILIES.values()}
    return names | {DATABASE_UP: set()}


@pytest.mark.parametrize("expression", expressions())
def test_a_panel_asks_for_samples_and_labels_that_the_exporter_has(expression: str) -> None:
    asked = SELECTOR.findall(expression)
    assert asked
    for name, matchers in asked:
        assert {label for label, _, _ in MATCHER.findall(matchers)} <= served()[name]
        [*grouped] = re.findall(r"by \(([^)]*)\)", expression)
        assert {label.strip() for group in grouped for label in group.split(",")} <= served()[name]


def test_every_sample_has_a_panel() -> None:
    assert {name for one in expressions() for name, _ in SELECTOR.findall(one)} == served().keys()


def test_compose_provisions_source_and_dashboard() -> None:
    mounted = {one["target"]: one["source"] for one in compose()["services"]["grafana"]["configs"]}

    def at(target: str) -> Any:
        """The file that Grafana finds there; JSON is YAML."""
        file = compose()["configs"][mounted[f"/etc/grafana/{target}"]]["file"]
        return yaml.safe_load((DOCKER / file).read_text())

    [source] = at("provisioning/datasources/prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    [provider] = at("provisioning/dashboards/wordwave.yml")["providers"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    assert at("dashboards/wordwave.json") == DASHBOARD
    scraped = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    assert [one["static_configs"][0]["targets"] for one in scraped] == [["metrics:9464"]]


def test_panels_do_not_overlap() -> None:
    cells = [
        (at["x"] + right, at["y"] + down)
        for at in (panel["gridPos"] for panel in PANELS)
        for right in range(at["w"])
        for down in range(at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """A Prometheus that scrapes a port of this machine every second; its address."""
    job = {"job_name": "wordwave", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def ask(address: str, expression: str) -> list[Any]:
    """What Prometheus answers now."""
    query = urlencode({"query": expression.replace("$__rate_interval", "1m")})
    try:
        with urlopen(f"{address}/api/v1/query?{query}", timeout=10) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return found


def wait_for(address: str, expression: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ask(address, expression):
        assert time.monotonic() < deadline, f"no data: {expression}"
        time.sleep(0.5)


def night(runtime: Runtime, folder: Path) -> None:
    place, asked = partition_of(str(folder)), LabelRequest("sounds")
    run_night(runtime, place, asked, with_bar, kind="nightly-labeling", export=True)


def matches(sample: Sample, name: str, matchers: str) -> bool:
    """Whether a sample is what a selector means."""
    return sample.name == name and all(
        re.fullmatch(wanted if how == "=~" else re.escape(wanted), sample.labels[label])
        for label, how, wanted in MATCHER.findall(matchers)
    )


def test_every_panel_finds_its_samples_in_a_scrape_after_a_night(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, database: Database
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(500))
    (folder / "junk.wav").write_bytes(b"junk")
    night(runtime, folder)
    with scraped(database.url("analyst")) as text:
        found = samples(text)
    for expression in expressions():
        for name, matchers in SELECTOR.findall(expression):
            has_data = any(matches(sample, name, matchers) for sample in found)
            assert has_data or expression.endswith("or vector(0)"), expression


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus: apt-get install prometheus")
def test_every_panel_has_data_in_a_real_prometheus(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, database: Database, tmp_path: Path
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(500))
    (folder / "junk.wav").write_bytes(b"junk")
    port = free_port()
    with exporter(database.url("analyst"), port), prometheus(tmp_path, port) as address:
        night(runtime, folder)
        wait_for(address, 'wordwave_clips_total{outcome="labeled"} == 1')
        write_clip(folder / "b.wav", hiss())
        night(runtime, folder)
        wait_for(address, 'wordwave_clips_total{outcome="labeled"} == 2')
        for expression in expressions():
            wait_for(address, expression)
