"""Libraries from the export of a Label Studio project."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline.libraries.annotated import annotated_rows
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import file_uri
from tests.flows.pipeline.conftest import hiss, tone, write_clip
from tests.flows.pipeline.reviews.annotating import annotation, export


def task(place: object, **more: object) -> Any:
    return {"data": {"audio": place, "why": "as it is", **more}}


def test_annotated_clips_become_a_library(runtime: Runtime, tmp_path: Path) -> None:
    places = [
        file_uri(write_clip(tmp_path / "library" / f"{number}.wav", samples))
        for number, samples in enumerate([tone(440, seed=1), hiss(seed=2), tone(600, seed=3), hiss(seed=4)])
    ]
    tasks = [task(places[0]), task("https://cdn/1.wav", uri=places[1]), task(places[2]), task(places[3])]
    sure = {**annotation(4, "tone", at="2026-01-01T00:00:00Z"), "ground_truth": True}
    text = export(tasks, [annotation(1, "tone")], [annotation(2, "hiss")], [annotation(3, "hiss"), sure])
    path = tmp_path / "library" / "export.json"
    path.write_text(text)
    version, _ = import_manifest(runtime, "sounds", str(path), "label")
    assert [(row.uri, row.label) for row in version.demonstrations] == [
        (places[0], "tone"),
        (places[1], "hiss"),
        (places[2], "tone"),
    ]
    with pytest.raises(ManifestError, match="gives labels, and no answers for speech"):
        import_manifest(runtime, "voices", str(path), "speech")


def test_a_label_that_is_called_as_none_of_the_labels_often_is_stays_a_label() -> None:
    queued = [
        task(f"s3://b/{number}.wav", review=number, none="(none of these)", content_sha256="00")
        for number in (1, 2)
    ]
    said = [[annotation(1, "none of these")], [annotation(2, "(none of these)")]]
    rows = annotated_rows("export.json", export(queued, *said))
    assert [row.label for row in rows.values()] == ["none of these"]


def test_an_older_project_says_none_of_the_labels_as_it_did() -> None:
    queued = [task("s3://b/1.wav", review=1), task("s3://b/2.wav", review=2)]
    rows = annotated_rows(
        "export.json", export(queued, [annotation(1, "none of these")], [annotation(2, "dog")])
    )
    assert [row.label for row in rows.values()] == ["dog"]


@pytest.mark.parametrize(
    ("tasks", "said", "message"),
    [
        ([task("https://cdn/a.wav")], annotation(1, "dog"), "task 1: its data has 0 places of clips"),
        ([task("s3://b/a.wav", other="s3://b/b.wav")], annotation(1, "dog"), "has 2 places of clips"),
        ([task("s3://b/a.wav")], {**annotation(1, "dog"), "result": []}, "task 1: it has 0 choices, one is"),
        ([task("s3://b/a.wav")], annotation(1, None), "has 0 annotated tasks"),
        ([task("s3://b/a.wav")], annotation(1, "x" * 201), "task 1: Value should have at most 200"),
    ],
)
def test_what_gives_no_labeled_clip_is_named(tasks: list[Any], said: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        annotated_rows("export.json", export(tasks, [said]))


def test_a_manifest_of_objects_may_be_called_json(runtime: Runtime, tmp_path: Path) -> None:
    write_clip(tmp_path / "library" / "a.wav", tone(440))
    write_clip(tmp_path / "library" / "b.wav", hiss())
    path = tmp_path / "library" / "rows.json"
    path.write_text("\n".join(json.dumps({"path": f"{name}.wav", "label": name}) for name in "ab"))
    assert len(import_manifest(runtime, "sounds", str(path), "label")[0].demonstrations) == 2
