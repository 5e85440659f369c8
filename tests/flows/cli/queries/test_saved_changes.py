"""Saved queries about changes and demonstrations answer what Python computes without SQL."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.engine import make_engine
from db.libraries import LibraryDemonstration, import_library
from db.predictions import save_predictions
from db.tokens import save_tokens
from flows.cli.queries.query import answered
from flows.cli.queries.saved import read_saved
from tests.db.rows import FOLDER, clip_id, listed, make_llm, make_run, prediction, sha256, tokenized
from tests.db.test_changes import Scene
from tests.fixtures_postgres import Database

SHOWN = {"low": [0, 1, 0, 1, 2, 3], "high": [2, 3, 2, 3, 3, 3]}
HEARD = {"1.wav": [0, 1, 0, 1], "2.wav": [3, 3, 3], "3.wav": [1, 0, 1, 0, 2]}


@pytest.fixture
def scene(database: Database) -> Iterator[Scene]:
    engine = make_engine(database.url("writer"))
    analysts = create_engine(database.url("analyst"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with analysts.connect() as analyst:
        yield Scene(engine, analyst)
    engine.dispose()


def ask(database: Database, name: str, **values: str) -> list[dict[str, Any]]:
    query = read_saved(name)
    with answered(database.url("analyst"), query.sql, query.with_values(values)) as answer:
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def test_labels_that_changed_since_last_night_and_those_of_before(database: Database, scene: Scene) -> None:
    scene.answer("cat")
    scene.answer("dog", llm=scene.do(make_llm))
    [row] = ask(database, "changed-labels", library="animals")
    wanted = {"uri": f"{FOLDER}/a.wav", "label_before": "cat", "label": "dog", "reason": "new model"}
    assert wanted.items() <= row.items()
    assert ask(database, "changed-labels", library="birds") == []
    moment = row["changed_at"].isoformat()
    assert ask(database, "labels-as-of", library="animals", moment=moment) == [{"label": "dog", "clips": 1}]
    assert ask(database, "labels-as-of", library="animals") == []


def overlap(one: list[int], other: list[int]) -> float:
    """Of the pairs of neighbors that one has, the share that both have."""
    pairs = [set(pairwise(codes)) for codes in (one, other)]
    return len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])


def test_demonstrations_that_are_nearest_to_most_clips(database: Database, scene: Scene) -> None:
    def write(session: Session) -> None:
        run = make_run(session, "shown")
        add_clips(session, map(listed, HEARD), FOLDER)
        clips = [spelled(clip_id(session, name), name, codes) for name, codes in HEARD.items()]
        save_tokens(session, scene.codec_id, run, clips + [spelled(None, *shown) for shown in SHOWN.items()])
        rows = [LibraryDemonstration(sha256(label), label, f"file:///{label}") for label in SHOWN]
        library = import_library(session, "sounds", "label", None, rows)
        save_predictions(session, run, [prediction(name, library, scene.codec_id, None) for name in HEARD])

    scene.do(write)
    nearest = Counter(max(SHOWN, key=lambda label: overlap(SHOWN[label], codes)) for codes in HEARD.values())
    assert ask(database, "deciding-demonstrations") == [
        {"label": label, "uri": f"file:///{label}", "clips": clips} for label, clips in nearest.most_common()
    ]


def spelled(clip: int | None, name: str, codes: list[int]) -> Any:
    """A content with these semantic codes."""
    layers = (codes, [1] * 2 * len(codes), [7] * 4 * len(codes))
    return replace(tokenized(clip, name), codes=layers, levels=[-200] * len(codes))
