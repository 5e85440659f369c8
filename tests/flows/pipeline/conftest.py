"""A runtime on local folders and a database of its own, with clips that are made by rule."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sqlalchemy import Engine, text

from core.decoding.audio_stream import Samples
from db.embeddings import ensure_embedding_model
from db.engine import make_engine, session_scope
from db.runs import RunClaim, start_run
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import LOG_MEL_MODEL, Runtime
from migrations.upgrade import downgrade, upgrade
from tests.fixtures_postgres import Database

RATE = 16_000
BEFORE_LATENTS = "20261122_analytics"


def tone(hertz: float, seconds: float = 0.6, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * hertz * time) + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def hiss(seconds: float = 0.6, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return (0.2 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def write_clip(path: Path, samples: Samples) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the clips of a test lie; the runtime may read it, and library beside it."""
    for name in ("clips", "library"):
        (tmp_path / name).mkdir()
    return tmp_path / "clips"


@pytest.fixture
def settings(tmp_path: Path, folder: Path, database_url: str) -> Settings:
    roots = (str(folder), str(tmp_path / "library"))
    return Settings(home=tmp_path / "home", database_url=database_url, read_roots=roots, batch_size=4)


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    runtime = Runtime(settings)
    yield runtime
    runtime.close()


@pytest.fixture
def run_id(runtime: Runtime) -> RunClaim:
    return new_run(runtime.engine)


def new_run(engine: Engine, kind: str = "test") -> RunClaim:
    with session_scope(engine) as session:
        run = start_run(
            session, kind, "here", parameters={}, day=None, flow_run_id=None, code_version="0.1.0"
        )
    return RunClaim(run.id, run.attempts)


def rows(engine: Engine, question: str, **values: object) -> list[tuple[Any, ...]]:
    with session_scope(engine) as session:
        return [tuple(row) for row in session.execute(text(question), values)]


def forget_latents(database: Database) -> None:
    """Leaves tokens as they are in a database from before there were latents and embeddings."""
    downgrade(database.url("owner"), BEFORE_LATENTS)
    upgrade(database.url("owner"))
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:  # the row that an open runtime knows
        ensure_embedding_model(session, LOG_MEL_MODEL)
    engine.dispose()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two tones and two hisses, labeled."""
    clips = {"tone": [tone(440, seed=1), tone(660, seed=2)], "hiss": [hiss(seed=3), hiss(seed=4)]}
    return write_manifest(tmp_path / "library", clips)


def write_manifest(folder: Path, clips: Mapping[str, list[Samples]]) -> Path:
    lines = []
    for label, takes in clips.items():
        for number, samples in enumerate(takes):
            write_clip(folder / f"{label}-{number}.wav", samples)
            lines.append(json.dumps({"path": f"{label}-{number}.wav", "label": label}))
    path = folder / "library.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path
