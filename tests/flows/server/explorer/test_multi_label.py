"""The pages of a night whose clips may have several labels."""

import json
from pathlib import Path

from starlette.testclient import TestClient

from db.engine import make_engine
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.server.explorer.app import explorer_app
from flows.server.explorer.audio.sounds import Sounds
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, tone, write_clip
from tests.flows.server.explorer.conftest import ADDRESS, PASSWORD


def test_a_night_leads_to_the_answers_of_each_label(database: Database, tmp_path: Path) -> None:
    sounds = {"low": tone(440), "hiss": hiss(seed=3), "both": 0.5 * (tone(440) + hiss(seed=3))}
    labels = {"low": ["low"], "hiss": ["hiss"], "both": ["hiss", "low"]}
    rows = []
    for name, samples in sounds.items():
        write_clip(tmp_path / "library" / f"{name}.wav", samples)
        write_clip(tmp_path / "clips" / f"{name}.wav", 0.9 * samples)
        rows.append(json.dumps({"path": f"{name}.wav", "labels": labels[name]}))
    (tmp_path / "library" / "rows.jsonl").write_text("\n".join(rows))
    settings = Settings(
        home=tmp_path / "home", database_url=database.url("writer"), read_roots=(str(tmp_path),), llm=None
    )
    runtime = Runtime(settings)
    import_manifest(runtime, "sounds", str(tmp_path / "library" / "rows.jsonl"), "label")
    partition = partition_of(str(tmp_path / "clips"))
    night = run_night(
        runtime, partition, LabelRequest("sounds"), with_bar, kind="nightly-labeling", export=False
    )
    runtime.close()
    engine, heard = make_engine(database.url("analyst"), "wordwave explore"), Sounds(settings)
    with TestClient(explorer_app(settings, engine, heard, PASSWORD, [ADDRESS]), base_url=ADDRESS) as client:
        client.auth = ("wordwave", "secret")
        page = client.get(f"/nights/{night.run.id}").text
        assert "Clips may have several labels here" in page
        listed = client.get("/clips", params={"place": partition.place, "library": "sounds/low"}).text
    heard.close()
    engine.dispose()
    assert "sounds%2Flow" in page or "sounds/low" in page
    assert "both.wav" in listed
    assert "not low" in listed
