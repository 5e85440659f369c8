"""Queues out to Label Studio and its annotations back: each decision counts once, and what is odd is said."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from flows.pipeline.files.label_studio import none_choice, read_export
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.nights.jobs import Night
from flows.pipeline.reviews.exchange.label_studio_decisions import import_annotations
from flows.pipeline.reviews.exchange.label_studio_tasks import (
    audio_address,
    labeling_config,
    write_project,
)
from flows.pipeline.reviews.learning import propose
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows
from tests.flows.pipeline.reviews.annotating import annotation, export
from tests.flows.pipeline.reviews.conftest import run, truth, waiting

DECISIONS = "SELECT review, verdict, label, reviewer, note FROM analytics.review_decisions ORDER BY decision"


@pytest.fixture
def tasks(runtime: Runtime, night: Night, tmp_path: Path) -> list[Any]:
    """The tasks of the night's queue."""
    written, _ = write_project(runtime, waiting(runtime), tmp_path / "project")
    found: list[Any] = json.loads(written.read_text())
    return found


def test_each_clip_is_a_task_with_the_answer_as_its_prediction(
    runtime: Runtime, tasks: list[Any], tmp_path: Path
) -> None:
    queue = waiting(runtime)
    assert [task["data"]["review"] for task in tasks] == [clip.review for clip in queue]
    assert {task["data"]["audio"] for task in tasks} == {clip.uri for clip in queue}
    assert {task["data"]["none"] for task in tasks} == {"none of these"}
    for task, clip in zip(tasks, queue, strict=True):
        if clip.drawn == "random":
            assert task["predictions"] == []
            continue
        (prediction,) = task["predictions"]
        said = none_choice(["hiss", "tone"]) if clip.status == "unknown" else clip.label
        assert prediction["result"][0]["value"] == {"choices": [said]}
        assert prediction["model_version"].startswith("sounds@1 by ")
        assert 0 < prediction["score"] <= 1
    assert {clip.drawn for clip in queue} == {"chosen", "random"}
    config = ElementTree.parse(tmp_path / "project" / "labeling-config.xml")
    assert [one.get("value") for one in config.iter("Choice")] == ["hiss", "tone", "none of these"]


def test_hostile_labels_stay_labels_in_the_labeling_config() -> None:
    labels = ['"><script>', "none of these", "(none of these)", "é & b"]
    found = [one.get("value") for one in ElementTree.fromstring(labeling_config(labels)).iter("Choice")]
    assert found == [*labels, "((none of these))"]


@pytest.mark.parametrize(
    ("uri", "template", "address"),
    [
        ("s3://clips/a b/c.wav", "{uri}", "s3://clips/a b/c.wav"),
        (
            "s3://clips/a b/c#1.wav",
            "https://{bucket}.cdn/{path}",
            "https://clips.cdn/a%20b/c%231.wav",
        ),
        ("file:///data/a%20b.wav", "/data/local-files/?d={path}", "/data/local-files/?d=data/a%20b.wav"),
    ],
)
def test_the_audio_address_is_made_by_the_template(uri: str, template: str, address: str) -> None:
    assert audio_address(uri, template) == address


def test_an_unknown_placeholder_and_an_empty_queue_are_refused(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the address has \{key\}: there are \{uri\}, \{bucket\}, \{path\}"):
        audio_address("s3://clips/a.wav", "https://x/{key}")
    with pytest.raises(ValueError, match="nothing waits for a review"):
        write_project(runtime, [], tmp_path)


def test_an_export_imported_twice_counts_once(runtime: Runtime, tasks: list[Any]) -> None:
    text = export(
        tasks,
        [annotation(1, "tone", note="clear")],
        [annotation(2, "none of these")],
        [annotation(3, None)],
    )
    assert import_annotations(runtime, "e.json", text, "anna").new == 3
    before = rows(runtime.engine, DECISIONS)
    assert import_annotations(runtime, "again.json", text).new == 0
    assert rows(runtime.engine, DECISIONS) == before
    assert [row[1:] for row in before] == [
        ("label", "tone", "anna", "clear"),
        ("none", None, "anna", None),
        ("skip", None, "anna", None),
    ]


def test_a_changed_annotation_is_a_new_decision_and_an_older_export_takes_nothing_back(
    runtime: Runtime, tasks: list[Any]
) -> None:
    old = export(tasks, [annotation(1, "tone")])
    new = export(tasks, [annotation(1, "hiss", at="2026-11-30T09:00:00Z")])
    assert import_annotations(runtime, "e.json", new).new == 1
    assert import_annotations(runtime, "e.json", old).new == 0
    newest = export(tasks, [annotation(1, "tone", at="2026-11-30T10:00:00.5+01:00")])
    assert import_annotations(runtime, "e.json", newest).new == 1
    assert [row[2] for row in rows(runtime.engine, DECISIONS)] == ["hiss", "tone"]


def test_annotators_that_disagree_are_both_kept_and_the_latest_counts(
    runtime: Runtime, tasks: list[Any]
) -> None:
    anna = {"id": 7, "email": "anna@example.org", "first_name": "", "last_name": ""}
    late = annotation(1, "hiss", by=anna, at="2026-11-30T09:00:00Z")
    early = annotation(2, "tone", by=3, at="2026-11-30T08:00:00Z")
    imported = import_annotations(runtime, "e.json", export(tasks, [late, early]))
    assert [row[2:4] for row in rows(runtime.engine, DECISIONS)] == [
        ("tone", "annotator 3"),
        ("hiss", "anna@example.org"),
    ]
    uri = uri_of(runtime, tasks[0])
    assert imported.remarks == [
        f"disputed: {uri} is annotator 3 tone, anna@example.org hiss; the latest decision counts"
    ]
    (found,) = rows(
        runtime.engine, "SELECT decided_label, is_disputed FROM analytics.reviews WHERE decisions > 0"
    )
    assert found == ("hiss", True)
    numbers = export(tasks, [annotation(1, "tone", by=1), annotation(2, "tone", by=2)])
    with pytest.raises(ManifestError, match="annotator 1, annotator 2: --reviewer names one person"):
        import_annotations(runtime, "e.json", numbers, "anna")


def uri_of(runtime: Runtime, task: Any) -> str:
    ((uri,),) = rows(
        runtime.engine, "SELECT uri FROM analytics.reviews WHERE review = :r", r=task["data"]["review"]
    )
    return str(uri)


def test_what_is_no_decision_is_left_out_with_a_reason(runtime: Runtime, tasks: list[Any]) -> None:
    foreign = {"data": {"audio": "https://elsewhere/a.wav"}}
    other = {"data": {**tasks[0]["data"], "content_sha256": "00" * 32}}
    empty = annotation(4, "tone")
    empty["result"] = []
    text = export(
        [foreign, other, tasks[0], tasks[1], tasks[2]],
        [annotation(1, "tone")],
        [annotation(2, "tone")],
        [annotation(3, "cow")],
        [empty],
        [annotation(5, "tone")],
    )
    imported = import_annotations(runtime, "e.json", text)
    assert imported.new == 1
    reasons = [remark.partition(" task ")[2] for remark in imported.remarks]
    assert [reason.split(": ")[0][:46] for reason in reasons] == [
        "1 is about no clip that is queued here",
        "2 is about no clip that is queued here",
        "3 says 'cow', which is no label of sounds@1",
        "4 has 0 labels, it needs one",
    ]


def test_a_deleted_clip_counts_and_is_named(runtime: Runtime, tasks: list[Any], clips: Path) -> None:
    uri = str(tasks[0]["data"]["uri"])
    (clips / uri.rpartition("/")[2]).unlink()
    run(runtime, clips, reviews=0)
    imported = import_annotations(runtime, "e.json", export(tasks, [annotation(1, "tone")]))
    assert imported.new == 1
    assert imported.remarks == [
        f"gone: {uri} was replaced or deleted since; the decision counts by its stored codes"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "is no JSON export of Label Studio: 0: "),
        (
            '[{"id": 1, "audio": "x", "label": "dog", "annotator": 1}]',
            "export the project as JSON, not as JSON-MIN",
        ),
        ("[{", "is not JSON: "),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_another_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_export("e.json", text)


def test_the_next_version_learns_what_was_annotated(runtime: Runtime, tasks: list[Any]) -> None:
    chosen = [task for task in tasks if task["predictions"]]
    queue = {clip.review: truth(clip) for clip in waiting(runtime)}
    names = [queue[task["data"]["review"]] for task in chosen]
    said = [[annotation(n, {"beep": "tone"}.get(name, name))] for n, name in enumerate(names, start=1)]
    assert import_annotations(runtime, "e.json", export(chosen, *said)).new == len(chosen)
    proposal, _ = propose(runtime, "sounds")
    assert {row.uri for row in proposal.lesson.added} == {task["data"]["uri"] for task in chosen}
