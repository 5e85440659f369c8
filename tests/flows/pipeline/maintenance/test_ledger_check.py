"""The checks find what they look for: each test does to a sound ledger what no flow should."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.engine import session_scope
from db.ledger import Ledger
from db.promotions import ModelSet
from flows.cli.torture.sounds import broken_clip, clip
from flows.cli.torture.trial import Trial
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.ledger_check import Finding, check_settled

GENERATION = ModelSet(1, 1, None)


@pytest.fixture
def trial(tmp_path: Path, database_url: str) -> Iterator[Trial]:
    """A night over two clips and one that is broken, exported."""
    trial = Trial(Settings(home=tmp_path, database_url=database_url), "trial")
    for number in range(2):
        trial.put(f"{number}.wav", clip(number + 10))
    trial.put("broken.wav", broken_clip(12))
    trial.import_library(1)
    trial.night()
    yield trial
    trial.close()


def change(trial: Trial, statement: str) -> None:
    with session_scope(trial.runtime.engine) as session:
        session.execute(text(statement))


def kinds(found: list[Finding]) -> set[str]:
    return {finding.kind for finding in found}


def test_a_night_that_was_left_alone_is_sound(trial: Trial) -> None:
    assert trial.check() == []
    assert trial.settle() == []


def test_a_clip_without_answer_and_reason_is_lost(trial: Trial) -> None:
    change(trial, "UPDATE quarantine SET resolved_at = now()")
    found = check_settled(trial.ledger(), [], f"{trial.place}/", GENERATION)
    assert "broken.wav has no answer" in next(str(finding) for finding in found if finding.kind == "lost")


def test_an_object_that_no_listing_has_is_lost(trial: Trial) -> None:
    trial.put("new.wav", clip(20))
    listed = trial.runtime.storage(trial.place).list(trial.place)
    assert kinds(check_settled(trial.ledger(), listed, f"{trial.place}/", GENERATION)) == {"lost"}


def test_bytes_that_are_not_the_stored_ones_are_wrong(trial: Trial) -> None:
    trial.put_clips["0.wav"] = clip(30)
    assert kinds(trial.settle()) == {"wrong"}


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.parquet"])
def test_a_manifest_that_names_what_is_not_there_is_torn(trial: Trial, name: str) -> None:
    for path in exported(trial):
        if path.suffix == Path(name).suffix:
            path.unlink()
    assert kinds(trial.check()) == {"torn"}


def test_a_file_of_other_bytes_than_its_manifest_says_is_torn(trial: Trial) -> None:
    for path in exported(trial):
        if path.suffix == ".jsonl":
            path.write_bytes(path.read_bytes() + b"\n")
    assert kinds(trial.check()) == {"torn"}


def test_a_manifest_without_a_row_and_a_row_without_a_manifest_are_torn(trial: Trial) -> None:
    (manifest,) = (path for path in exported(trial) if path.name.startswith("manifest"))
    copy = manifest.with_name("manifest-of-nobody.json")
    copy.write_bytes(json.dumps({"files": []}).encode())
    assert kinds(trial.check()) == {"torn"}
    copy.unlink()
    assert trial.check() == []
    manifest.unlink()
    assert kinds(trial.check()) == {"torn"}


def exported(trial: Trial) -> list[Path]:
    return [
        path for path in Path(trial.settings.home, "storage", "trial").rglob("runs/**/*") if path.is_file()
    ]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ({"answers": {"retracted_by_run": None, "label": "other"}}, "wrong"),
        ({"answers": {"retracted_by_run": None}}, "doubled"),
        ({"clips": {}}, "doubled"),
        ({"quarantine": {}}, "doubled"),
        ({"labels": {"label": "other"}}, "wrong"),
    ],
)
def test_a_row_too_many_is_found(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, rows: dict[str, dict[str, Any]], kind: str
) -> None:
    ledger = trial.ledger()
    more: dict[str, Any] = {
        table: [*getattr(ledger, table), {**getattr(ledger, table)[0], **changed}]
        for table, changed in rows.items()
    }
    monkeypatch.setattr(trial, "ledger", lambda: replace(ledger, **more))
    assert kind in kinds(trial.check())


def test_current_answers_are_the_promoted_ones_then_the_latest(trial: Trial) -> None:
    trial.import_library(2)
    trial.night()
    trial.promote(1)
    assert trial.check() == []
    ledger = trial.ledger()
    old = {answer["run_id"] for answer in ledger.answers} - {max_run(ledger)}
    assert {row["run"] for row in ledger.labels} == old


def max_run(ledger: Ledger) -> Any:
    return max(ledger.answers, key=lambda answer: answer["created_at"])["run_id"]


def test_digests_are_those_of_the_bytes(trial: Trial) -> None:
    stored = {row["uri"].rpartition("/")[2]: row["content_sha256"] for row in trial.ledger().current}
    assert stored["0.wav"] == hashlib.sha256(clip(10)).digest()
