"""Every flow on a real Prefect server, as a form or a schedule would start it."""

import json
from datetime import date
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from core.errors import PromptTooLong
from core.presets import preset_directory
from db.libraries import LibraryNotFound
from flows.artifacts.markdown import cell, escape
from flows.deployments import DEPLOYMENTS, FlowDeployment
from flows.pipeline.runs.check import ChecksFailed
from flows.pipeline.storage import StorageRefused
from flows.pipeline.storage.uris import file_path, file_uri
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database
from tests.fixtures_s3 import S3Bucket
from tests.flows.final_state import final_state
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.flows.pipeline.labeling.test_request import FORM_FIELDS

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


def artifact(key: str) -> Any:
    """The newest artifact of a key."""
    from prefect.artifacts import Artifact

    found = Artifact.get(key)
    assert found
    return found


def test_a_night_counts_what_it_did_and_shows_it(
    day: Path, library: str, worker: Path, database: Database
) -> None:
    from flows.nightly import nightly_labeling

    counts = nightly_labeling(f"{worker}/{{day}}", library, day="2026-11-21", timezone="Europe/Berlin")
    run_id, manifest = counts.pop("run"), counts.pop("manifest")
    assert {name: count for name, count in counts.items() if count} == {
        "ingest.new": 3,
        "tokenize.tokenized": 2,
        "tokenize.quarantined": 1,
        "tokenize.quarantined:truncated": 1,
        "label.labeled": 2,
        "export.rows": 2,
    }
    summary, table = artifact("nightly-labeling-summary"), artifact("nightly-labeling-table")
    assert (summary.type, table.type) == ("markdown", "table")
    assert f"`{run_id}`" in summary.data
    assert f"`{manifest}`" in summary.data
    shown = [(row["clip"].rpartition("/")[2], row["status"], row["label"]) for row in json.loads(table.data)]
    assert shown[0] == ("cut.wav", "quarantined: truncated", "")
    assert sorted(shown[1:]) == [("a.wav", "labeled", "low"), ("b.wav", "labeled", "high")]
    [run] = rows(database.url("writer"), "SELECT * FROM runs WHERE kind = 'nightly-labeling'")
    assert str(run["id"]) == run_id
    assert run["day"] == date(2026, 11, 21)
    assert run["asked_by"] == "UI"
    assert run["partition_key"].endswith(file_uri(day))
    assert run["flow_run_id"] == str(summary.flow_run_id) == str(table.flow_run_id)


def test_a_second_night_does_nothing(day: Path, library: str) -> None:
    from flows.nightly import nightly_labeling

    first = nightly_labeling(str(day), library, day="any")
    second = nightly_labeling(str(day), library, day="any")
    assert second.pop("run") != first.pop("run")
    assert second.pop("manifest") == first.pop("manifest")
    done = {name: count for name, count in second.items() if count}
    assert done == {"ingest.known": 3, "export.unchanged_rows": 2}


def test_the_flows_of_a_night_do_the_same_one_by_one(day: Path, manifest: str) -> None:
    from flows.steps import build_library, export_results, ingest_clips, label_clips, tokenize_clips

    assert build_library("sounds", manifest) == {"version": 1, "library.demonstrations": 2}
    assert ingest_clips(str(day))["ingest.new"] == 3
    assert tokenize_clips(str(day))["tokenize.tokenized"] == 2
    assert label_clips(str(day), "sounds@1")["label.labeled"] == 2
    assert export_results(str(day), "sounds")["export.rows"] == 2
    kinds = ["build-library", "ingest-clips", "tokenize-clips", "label-clips", "export-results"]
    for kind in kinds:
        shown = artifact(f"{kind}-summary").type, artifact(f"{kind}-table").type
        assert shown == ("markdown", "table"), kind


def test_a_new_version_of_a_library_shows_what_it_would_change(manifest: str, library: str) -> None:
    from flows.steps import build_library

    path = Path(manifest)
    path.write_text(path.read_text().replace('"low"', '"deep|*"'))
    assert build_library("sounds", manifest)["version"] == 2
    page = artifact("build-library-summary").data
    assert "- sounds@1 stays in use: wordwave library use sounds@2 puts this version into use" in page
    assert "0 clips added, 0 removed, 1 with another answer, 1 the same" in page
    assert "| deep&#124;* | 1 |" in page
    assert build_library("sounds", manifest, promote=True)["version"] == 2
    assert "sounds@2 is in use" in artifact("build-library-summary").data


def test_a_challenger_is_compared_on_a_page_and_changes_nothing(
    day: Path, manifest: str, library: str, database: Database
) -> None:
    from flows.models import compare_library
    from flows.nightly import nightly_labeling
    from flows.steps import build_library

    nightly_labeling(str(day), library, day="any")
    path = Path(manifest)
    path.write_text(path.read_text().replace('"low"}', '"deep|*"}'))
    assert build_library("sounds", manifest)["version"] == 2
    compared = compare_library("sounds@2")
    assert (compared["changed"], compared["agreement"]) == (1, 0.5)
    page = artifact("compare-library-summary").data
    assert "low to deep&#124;" in page
    [row] = json.loads(artifact("compare-library-table").data)
    assert (row["before"], row["uri"].rpartition("/")[2]) == ("low", "a.wav")
    labels = rows(database.url("writer"), "SELECT label FROM analytics.labels WHERE library = 'sounds'")
    assert "deep|*" not in {one["label"] for one in labels}


def test_a_plan_whose_prompt_does_not_fit_is_shown_and_fails(
    day: Path, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.nightly import nightly_labeling
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    shared_runtime(Settings()).close()
    monkeypatch.setenv("WORDWAVE_LLM", str(write_llama(tmp_path / "short", context=64)))
    with pytest.raises(PromptTooLong, match=r"context holds 64: library sounds@1 shows more"):
        nightly_labeling(str(day), library, day="any", dry_run=True)
    assert "No prompt to show: the prompt needs" in artifact("nightly-plan-summary").data


def test_an_unknown_library_fails_before_anything_is_listed(
    day: Path, library: str, database: Database
) -> None:
    from flows.nightly import nightly_labeling

    with pytest.raises(LibraryNotFound, match="no library sonds: did you mean sounds"):
        nightly_labeling(str(day), "sonds", day="any")
    listed = rows(database.url("writer"), f"SELECT * FROM clips WHERE uri ^@ '{file_uri(day)}'")
    assert not listed
    statuses = rows(database.url("writer"), "SELECT status FROM runs WHERE kind = 'nightly-labeling'")
    assert statuses == [{"status": "failed"}]


def test_a_prefix_outside_of_the_allow_list_is_refused(library: str, tmp_path: Path) -> None:
    from flows.nightly import nightly_labeling

    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(StorageRefused, match=r"elsewhere' may not be read; allowed: .*WORDWAVE_READ_ROOTS"):
        nightly_labeling(str(tmp_path / "elsewhere"), library, day="any")


def test_names_from_outside_reach_artifacts_escaped(
    worker: Path, library: str, s3: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.nightly import nightly_labeling
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    shared_runtime(Settings()).close()
    monkeypatch.setenv("WORDWAVE_READ_ROOTS", f"{worker},{s3.uri}")
    place = f"{s3.uri}/`x`|<b>y</b>"
    names = ["<img src=x>.wav", "`d`.wav", "a|b.wav"]
    for name in names:
        s3.put(f"{place.removeprefix(s3.uri)[1:]}/{name}", tone(210))
    assert nightly_labeling(place, library, day="any")["ingest.new"] == len(names)
    summary, table = artifact("nightly-labeling-summary"), artifact("nightly-labeling-table")
    assert summary.data.splitlines()[0] == f"## {escape(place)}"
    assert summary.description == cell(place)
    cells = [row["clip"] for row in json.loads(table.data)]
    assert cells == [cell(f"{place}/{name}") for name in names]
    assert not any("<b" in shown or "<img" in shown for shown in [summary.data, summary.description, *cells])


def test_the_page_of_a_night_compares_it_with_the_last_one(day: Path, library: str, worker: Path) -> None:
    from flows.nightly import nightly_labeling

    prefix = f"{worker}/{{day}}"
    nightly_labeling(prefix, library, day="2026-11-21")
    assert "was completed before" in artifact("nightly-labeling-summary").data
    (worker / "2026-11-23").mkdir()
    for name, hertz in {"a": 205, "b": 215}.items():
        (worker / f"2026-11-23/{name}.wav").write_bytes(tone(hertz))
    nightly_labeling(prefix, f"{library}@1", day="2026-11-23", catch_up_days=0)
    page = artifact("nightly-labeling-summary").data
    assert "| label | clips | share | 2026-11-21 | share | shift of share |" in page
    assert "| low | 2 | 100.0% | 1 | 50.0% | +50.0 |" in page
    assert "| high | 0 | 0.0% | 1 | 50.0% | -50.0 |" in page
    assert "No clip is in both 2026-11-21 and this night, so no label changed." in page
    assert (
        "2 answered clips are only in this night, 2 only in 2026-11-21: they shift the shares by 50.0%, "
        "without any answer changing" in page
    )
    assert "worked on 2 clips" in page


@pytest.fixture
def shuffled_canaries(worker: Path) -> str:
    """A library of two clips, each labeled as the other."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.libraries.library import import_manifest
    from flows.pipeline.runtime.resources import shared_runtime

    for name, hertz in {"deep.wav": 220, "shrill.wav": 2800}.items():
        (worker / name).write_bytes(tone(hertz))
    (worker / "canaries.csv").write_text("path,label\ndeep.wav,high\nshrill.wav,low\n")
    manifest = str(worker / "canaries.csv")
    return import_manifest(shared_runtime(Settings()), "canaries", manifest, "label")[0].name


def test_a_night_stops_where_its_canaries_are_answered_wrong(
    day: Path, library: str, shuffled_canaries: str, database: Database
) -> None:
    from flows.nightly import nightly_labeling
    from flows.pipeline.labeling.canary import CanaryFailed

    state = final_state(nightly_labeling, str(day), library, day="any", canary_library=shuffled_canaries)
    assert state.is_failed()
    assert "0 of 2 canaries of canaries@1 were answered right (0%)" in str(state.message)
    with pytest.raises(CanaryFailed):
        state.result()
    assert not rows(database.url("writer"), "SELECT * FROM predictions")
    nightly_labeling(str(day), library, day="any", canary_library=shuffled_canaries, least_canary_accuracy=0)
    assert len(rows(database.url("writer"), "SELECT * FROM predictions")) == 2


def test_a_backfill_runs_the_days_that_miss_something_and_names_those_that_fail(
    day: Path, library: str, worker: Path, database: Database
) -> None:
    from flows.nightly import backfill_labeling, nightly_labeling
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.nights.backfill import BackfillFailed
    from flows.pipeline.runs.run import recorded_run
    from flows.pipeline.runtime.resources import shared_runtime

    for number in (22, 23):
        (worker / f"2026-11-{number}").mkdir()
        (worker / f"2026-11-{number}/a.wav").write_bytes(tone(200 + number))
    prefix = f"{worker}/{{day}}"
    nightly_labeling(prefix, library, day="2026-11-21")
    busy = f"nightly-labeling {file_uri(worker)}/2026-11-22"
    holder = recorded_run(
        shared_runtime(Settings()), "nightly-labeling", f"{file_uri(worker)}/2026-11-22", {"other": True}
    )
    with holder, pytest.raises(BackfillFailed, match=f"1 of 3 days failed.* 2026-11-22: partition {busy}"):
        backfill_labeling(prefix, library, "2026-11-21", "2026-11-23")
    days = json.loads(artifact("backfill-labeling-table").data)
    assert [(row["day"], row["status"]) for row in days] == [
        ("2026-11-21", "nothing missing"),
        ("2026-11-22", "failed"),
        ("2026-11-23", "done"),
    ]
    assert [row["done"] for row in days] == ["2", "0", "0"]
    assert "held by" in artifact("backfill-labeling-summary").data
    assert backfill_labeling(prefix, library, "2026-11-21", "2026-11-23")["2026-11-22"] == "done"
    runs = rows(
        database.url("writer"), "SELECT day, parameters ->> 'other' AS other FROM runs WHERE day IS NOT NULL"
    )
    assert sorted(run["day"].day for run in runs) == [21, 22, 23]


def test_an_evaluation_shows_its_scores_and_keeps_them(worker: Path) -> None:
    from flows.quality import evaluate_task

    rows = []
    for number in range(4):
        for label, hertz in {"low": 200, "high": 3000}.items():
            (worker / f"{label}{number}.wav").write_bytes(tone(hertz + 10 * number))
            rows.append(json.dumps({"path": f"{label}{number}.wav", "label": label}))
    (worker / "labeled.jsonl").write_text("\n".join(rows))
    counts = evaluate_task(str(worker / "labeled.jsonl"), episodes=20, layout="prompts", paper="emotion")
    assert counts["read.read"] == 8
    assert counts["ask.replies"] == 20 * 2 * 10  # nine baselines and a control, with one shot and with three
    figures = json.loads(file_path(str(counts["figures"])).read_text())
    assert figures["run"] == counts["run"]
    summary, table = artifact("evaluate-task-summary"), artifact("evaluate-task-table")
    assert f"`{counts['figures']}`" in summary.data
    words = "✓,3,0: nearest tokens answered 100.0% of 20 questions right, about 8 clips; guessing gets 50.0%."
    assert words in summary.data
    assert "Neither it nor the best baseline won" in summary.data
    assert "Two intervals hold each accuracy" in summary.data
    assert "| clip is | answered high | answered low |" in summary.data
    cells = {row["method"]: row for row in json.loads(table.data)}
    assert cells["paper, semantic"]["✓,3,0"] == "59"
    assert cells["nearest tokens"]["✓,3,0"].startswith("100.0 [100.0, 100.0]")


def test_a_night_that_nobody_takes_shards_of_says_so(
    day: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.nightly import nightly_labeling
    from flows.pipeline.nights.jobs import ShardsFailed

    monkeypatch.setattr("flows.sharding.LABEL_SHARD", "label-shard/elsewhere")
    with pytest.raises(ShardsFailed, match="no deployment label-shard/elsewhere: start wordwave up"):
        nightly_labeling(str(day), library, day="any", shards=2)


def test_a_shard_does_its_part_of_a_night_of_the_same_code(
    day: Path, library: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.nightly import label_shard
    from flows.steps import ingest_clips

    ingest_clips(str(day))
    [night] = rows(database.url("writer"), "SELECT id FROM runs WHERE kind = 'ingest-clips'")
    done = [label_shard(str(day), library, night["id"], number, 2, day="any") for number in (1, 2)]
    assert sum(one.get("label.labeled", 0) for one in done) == 2
    assert sum(one.get("tokenize.quarantined", 0) for one in done) == 1
    written = rows(database.url("writer"), "SELECT DISTINCT run_id FROM predictions")
    assert written == [{"run_id": night["id"]}]
    monkeypatch.setattr("flows.pipeline.nights.jobs.code_version", lambda: "0.0.9+other")
    with pytest.raises(ValueError, match="let all workers run the same version"):
        label_shard(str(day), library, night["id"], 1, 2, day="any")


def test_a_night_is_verified_undone_and_its_bad_clip_tried_again(
    day: Path, library: str, database: Database
) -> None:
    from uuid import UUID

    from flows.nightly import nightly_labeling
    from flows.quality import verify_run
    from flows.repair import replay_quarantine, undo_run

    run_id = UUID(str(nightly_labeling(str(day), library, day="any")["run"]))
    assert verify_run(run_id)["verify.passed"] == 4
    assert {row["passed"] for row in json.loads(artifact("verify-run-table").data)} == {"yes"}
    (day / "cut.wav").write_bytes(tone(400))
    assert replay_quarantine(str(day), ["truncated"])["tokenize.tokenized"] == 1
    assert not json.loads(artifact("replay-quarantine-table").data)
    undone = undo_run(run_id)
    assert undone["undo.retracted"] == 2
    assert f"run {run_id}" in artifact("undo-run-summary").data
    assert not rows(database.url("analyst"), "SELECT * FROM analytics.labels")


def test_another_generation_answers_and_is_promoted(
    day: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.models import promote_models, upgrade_models
    from flows.nightly import nightly_labeling
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    nightly_labeling(str(day), library, day="any")
    promote_models(library)
    with pytest.raises(ValueError, match="is in use already"):
        upgrade_models(str(day), library)
    shared_runtime(Settings()).close()
    codec = copytree(preset_directory("mini-codec"), day.parent.parent / "next")
    tensors = load_file(codec / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in tensors.items()}, codec / "model.safetensors")
    monkeypatch.setenv("WORDWAVE_CODEC", str(codec))
    assert upgrade_models(str(day), library)["compare.answered"] == 2
    switched = promote_models(library)
    assert switched["before"].startswith("sounds@1, codec mini-codec")
    assert artifact("promote-models-summary").description == escape(switched["now"])
    [row] = json.loads(artifact("promote-models-table").data)
    assert row == {name: escape(switched[name]) for name in ("before", "now")}


def test_the_doctor_looks_for_those_who_work(worker: Path) -> None:
    from prefect.client.orchestration import get_client

    from flows.deployments import DEPLOYMENTS, local_deployments
    from flows.quality import doctor

    def failed() -> list[str]:
        return [row["check"] for row in json.loads(artifact("doctor-table").data) if row["passed"] == "NO"]

    with get_client(sync_client=True) as client:  # of the server that all tests share
        for left in client.read_deployments():
            client.delete_deployment(left.id)
    with pytest.raises(
        ChecksFailed, match=f"workers: {len(DEPLOYMENTS)} of {len(DEPLOYMENTS)} flows are not deployed"
    ):
        doctor()
    assert failed() == ["workers"]
    for deployment in local_deployments():
        deployment.apply()
    with pytest.raises(
        ChecksFailed, match=f"workers: no worker is polling for {len(DEPLOYMENTS)} of .* -> run wordwave up"
    ):
        doctor()
    assert failed() == ["workers"]


def test_a_limit_that_somebody_changed_is_found(worker: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    from flows.deployments import NIGHTLY, local_deployments
    from flows.server.health import ask, check_limits

    for deployment in local_deployments():
        deployment.apply()
    assert ask(check_limits, worker) == f"limits: {NIGHTLY.name} 1"
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name(NIGHTLY.name)
        client.update_deployment(nightly.id, DeploymentUpdate(concurrency_limit=3))
    with pytest.raises(ValueError, match=f"the limit of {NIGHTLY.name} is 3, not 1"):
        ask(check_limits, worker)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_the_doctor_warns_where_nobody_would_be_told(worker: Path) -> None:
    from prefect.blocks.notifications import SlackWebhook

    from flows.pipeline.runs.check import check
    from flows.server.automations import update_automations
    from flows.server.health import ask, check_alerts

    update_automations(None)
    warned = check("alerts", lambda: ask(check_alerts, worker), "name a block")
    assert (warned.passed, warned.verdict, warned.remedy) == (True, "warn", "name a block")
    assert warned.finding.startswith("nobody would be alerted by 'wordwave: a run failed'")
    SlackWebhook(url="http://127.0.0.1:1/x").save("operators", overwrite=True)
    update_automations("slack-webhook/operators")
    assert check("alerts", lambda: ask(check_alerts, worker), "name a block").verdict == "ok"
    update_automations(None)


SCHEMAS = Path(__file__).with_name("schemas")


def known_form(name: str) -> dict[str, Any]:
    """The form of a flow as it was last written down; fields of a request come last."""
    form: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    fields = form["properties"]
    if form.pop("request", None) == "LabelRequest":
        for name, field in FORM_FIELDS.items():
            fields[name] = field | {"position": len(fields)}
    return form


@pytest.mark.parametrize("deployed", DEPLOYMENTS, ids=lambda deployed: deployed.flow)
def test_a_flows_form_is_the_one_that_people_know(deployed: FlowDeployment) -> None:
    """A change of a form is seen in review: write the new schema beside the flow's name in schemas/."""
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(deployed.load()).model_dump()
    assert schema == known_form(deployed.flow.replace("-", "_"))
