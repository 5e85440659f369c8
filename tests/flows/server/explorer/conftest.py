"""Pages over a real night of clips made by rule, hostile names among them, read as an analyst."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from db.embedded.server import EmbeddedServer
from db.engine import make_engine, session_scope
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.server.explorer.app import explorer_app
from flows.server.explorer.audio.sounds import Sounds
from tests.fixtures_postgres import Database, migrated_database
from tests.flows.pipeline.conftest import RATE, hiss, tone, write_clip

PASSWORD = "wordwave:secret"
ADDRESS = "http://127.0.0.1:4201"
DAYS = ("2026-11-20", "2026-11-21", "2026-11-22")
EMPTY_DAY = "2026-11-23"
HOSTILE = (
    '"><script>alert(1)<.script>.wav',
    "<img src=x onerror=alert(1)>.wav",
    "\u202eevil\u202c.wav",
    "esc\x1b[31m\ttab\nline.wav",
    "{{ 7 * 7 }}{% raw %}.wav",
    "%2e%2e%2f&amp;.wav",
    "n" * 240 + ".wav",
)


@dataclass(frozen=True)
class Explored:
    """Pages, and the world that they are about."""

    client: TestClient
    engine: Engine
    folder: Path
    database: Database
    settings: Settings
    nights: dict[str, Night]

    @property
    def night(self) -> str:
        """The address of the last night with clips."""
        return f"/nights/{self.nights[DAYS[-1]].run.id}"

    @property
    def place(self) -> str:
        return f"{self.folder.as_uri()}/{DAYS[-1]}"

    def clip(self, name: str, day: str = DAYS[-1]) -> str:
        """The address of a clip."""
        uri = (self.folder / day / name).as_uri()
        with session_scope(self.engine) as session:
            found = session.scalar(text("SELECT clip_id FROM analytics.clips WHERE uri = :uri"), {"uri": uri})
        assert found
        return f"/clips/{found}"


def write_day(folder: Path) -> None:
    """Write tones, hisses, a cut file, a silent one and one that browsers do not play."""
    for number in range(4):
        write_clip(folder / f"tone-{number}.wav", tone(300 + 190 * number, 0.6 + 0.2 * number, seed=number))
        write_clip(folder / f"hiss-{number}.wav", hiss(0.7, seed=10 + number))
    (folder / "cut.wav").write_bytes((folder / "tone-0.wav").read_bytes()[:-400])
    write_clip(folder / "silent.wav", 0 * tone(440))
    soundfile.write(folder / "tone.aiff", tone(500, seed=7), RATE)


@pytest.fixture(scope="package")
def explored(
    postgres: EmbeddedServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Explored]:
    """Three nights, and one without clips."""
    home = tmp_path_factory.mktemp("explored")
    folder, library = home / "calls", home / "library"
    rows = []
    for label, clips in {"tone": [tone(440), tone(660)], "hiss": [hiss(seed=3), hiss(seed=4)]}.items():
        for number, samples in enumerate(clips):
            write_clip(library / f"{label}-{number}.wav", samples)
            rows.append(json.dumps({"path": f"{label}-{number}.wav", "label": label}))
    (library / "manifest.jsonl").write_text("\n".join(rows))
    for day in DAYS:
        write_day(folder / day)
    for number, name in enumerate(HOSTILE):
        write_clip(folder / DAYS[-1] / name, tone(350 + 10 * number, seed=number))
    (folder / EMPTY_DAY).mkdir()
    with migrated_database(postgres, migrated_template) as database:
        settings = Settings(
            home=home / "home",
            database_url=database.url("writer"),
            read_roots=(str(folder), str(library)),
            llm=None,
        )
        runtime = Runtime(settings)
        import_manifest(runtime, "sounds", str(library / "manifest.jsonl"), "label")
        nights = {}
        for day in (*DAYS, EMPTY_DAY):
            partition = partition_of(f"{folder}/{{day}}", day)
            request = LabelRequest("sounds", min_margin=0.3)
            nights[day] = run_night(
                runtime,
                partition,
                request,
                with_bar,
                kind="nightly-labeling",
                export=False,
                least_clips=0,
            )
        runtime.close()
        engine = make_engine(database.url("analyst"), "wordwave explore")
        engine = engine.execution_options(postgresql_readonly=True)
        sounds = Sounds(settings)
        app = explorer_app(settings, engine, sounds, PASSWORD, [ADDRESS])
        with TestClient(app, base_url=ADDRESS) as client:
            client.auth = ("wordwave", "secret")
            yield Explored(client, engine, folder, database, settings, nights)
        sounds.close()
        engine.dispose()
