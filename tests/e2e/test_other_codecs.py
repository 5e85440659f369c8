"""Nights with codecs of other makers at random weights: everything except how they sound."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.codec.files.directory import directory_words
from core.codec.rvq.convert import convert_codec
from core.presets import preset_directory
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, new_run, rows, tone, write_clip
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.tiny_codecs import MAKERS, write_codec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CLIPS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write clips, half of them tones, and a library of four."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS // 2):
        write_clip(folder / "day" / f"tone-{number:03}.wav", tone(300 + 7 * number, seed=number))
        write_clip(folder / "day" / f"hiss-{number:03}.wav", hiss(seed=number))
    shots = []
    for number in range(2):
        for name, samples in (("tone", tone(480, seed=900 + number)), ("hiss", hiss(seed=900 + number))):
            write_clip(folder / "shots" / f"{name}-{number}.wav", samples)
            shots.append({"path": f"{name}-{number}.wav", "label": name})
    (folder / "shots" / "sounds.jsonl").write_text("".join(f"{json.dumps(shot)}\n" for shot in shots))
    return folder


@pytest.fixture(params=sorted(MAKERS))
def runtime(
    request: pytest.FixtureRequest, database: Database, folder: Path, tmp_path: Path
) -> Iterator[Runtime]:
    write_codec(request.param, tmp_path / "theirs")
    convert_codec(tmp_path / "theirs", tmp_path / "codec", layers=None, words=None)
    runtime = open_runtime(database, folder, tmp_path, tmp_path / "codec", None)
    yield runtime
    runtime.close()


def open_runtime(database: Database, folder: Path, home: Path, codec: Path, llm: Path | None) -> Runtime:
    settings = Settings(
        home=home / "home",
        database_url=database.url("writer"),
        read_roots=(str(folder),),
        codec=str(codec),
        llm=None if llm is None else str(llm),
    )
    runtime = Runtime(settings)
    manifest = str(folder / "shots" / "sounds.jsonl")
    build_library(runtime, "sounds", manifest, "label", new_run(runtime.engine))
    return runtime


def night(runtime: Runtime, folder: Path, labeler: str) -> Night:
    request = LabelRequest("sounds", labeler=labeler)
    return run_night(
        runtime, partition_of(str(folder / "day")), request, with_bar, kind="label", export=False
    )


def test_a_night_tokenizes_searches_and_labels_every_clip_once(runtime: Runtime, folder: Path) -> None:
    night(runtime, folder, "nearest-neighbour")
    [(answers, sure)] = rows(
        runtime.engine,
        "SELECT count(*), count(*) FILTER (WHERE probability BETWEEN 0.5 AND 1) FROM analytics.labels",
    )
    assert (answers, sure) == (CLIPS, CLIPS)
    layers = len(runtime.codec_config.codebook_sizes)
    [(clips, distinct)] = rows(
        runtime.engine,
        "SELECT count(DISTINCT uri), count(DISTINCT layer) FROM analytics.codes WHERE uri LIKE '%/day/%'",
    )
    assert (clips, distinct) == (CLIPS, layers)
    [(code, uri)] = rows(
        runtime.engine, "SELECT code, uri FROM analytics.codes WHERE layer = 0 AND uri LIKE '%/day/%' LIMIT 1"
    )
    found = rows(runtime.engine, "SELECT uri FROM analytics.find_codes(:code, most => 1000)", code=str(code))
    assert (uri,) in found
    written = rows(runtime.engine, "SELECT count(*), max(created_at) FROM token_sequences")
    night(runtime, folder, "nearest-neighbour")
    assert rows(runtime.engine, "SELECT count(*), max(created_at) FROM token_sequences") == written


def test_words_for_codes_let_a_language_model_label(database: Database, folder: Path, tmp_path: Path) -> None:
    words = directory_words(preset_directory("mini-codec"))[:64]
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in words))
    write_codec("dac", tmp_path / "theirs")
    convert_codec(tmp_path / "theirs", tmp_path / "codec", layers=3, words=tmp_path / "words.txt")
    llm = write_llama(tmp_path / "llm")
    runtime = open_runtime(database, folder, tmp_path, tmp_path / "codec", llm)
    night(runtime, folder, "few-shot")
    [(answers, said)] = rows(
        runtime.engine,
        "SELECT count(*), count(*) FILTER (WHERE llm IS NOT NULL) FROM analytics.labels",
    )
    assert (answers, said) == (CLIPS, CLIPS)
    [(word,)] = rows(runtime.engine, "SELECT word FROM analytics.words WHERE layer = 0 LIMIT 1")
    assert rows(runtime.engine, "SELECT count(*) FROM analytics.find_words(:word)", word=word) != [(0,)]
    runtime.close()
