"""A queue as a project of Label Studio: tasks with predictions, and the labeling config that they fit.

Random clips come without a prediction: what a person hears first measures the answers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from db.engine import session_scope
from db.libraries import get_library
from db.reviews.queue import GivenAnswer, QueuedClip, given_answers
from flows.pipeline.files.label_studio import NONE_KEY, none_choice
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import file_path, is_s3, split_s3

TASKS, CONFIG = "tasks.json", "labeling-config.xml"
LABEL, NOTE, AUDIO = "label", "note", "audio"
"""Names of the controls, and of the audio that they are about."""
HOTKEYS = "1234567890"
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def write_project(
    runtime: Runtime, queue: Sequence[QueuedClip], folder: Path, audio_url: str = "{uri}"
) -> list[Path]:
    """Write the tasks of a queue and their labeling config into a folder, and return both files.

    audio_url says where Label Studio finds a clip: {uri}, or an address with {bucket} and {path}. Raises
    ValueError for an empty queue and for other placeholders.
    """
    if not queue:
        raise ValueError("nothing waits for a review: wordwave review-queue queues clips")
    with session_scope(runtime.engine) as session:
        answers = given_answers(session, {one.answer for one in queue})
        version = get_library(session, queue[0].library, queue[0].version)
    labels = sorted({row.label_or_text for row in version.demonstrations})
    tasks = [_task(one, answers[one.answer], labels, audio_url) for one in queue]
    folder.mkdir(parents=True, exist_ok=True)
    texts = {TASKS: json.dumps(tasks, ensure_ascii=False, indent=1), CONFIG: labeling_config(labels)}
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return [folder / name for name in texts]


def labeling_config(labels: Sequence[str]) -> str:
    """Return the page of a task: why the clip, its sound, the labels on keys, and a note."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$why", size="5")
    ElementTree.SubElement(view, "Audio", name=AUDIO, value=f"${AUDIO}")
    about = {"toName": AUDIO}
    choices = ElementTree.SubElement(view, "Choices", about, name=LABEL, choice="single", required="true")
    for place, label in enumerate(labels):
        key = {"hotkey": HOTKEYS[place]} if place < len(HOTKEYS) else {}
        ElementTree.SubElement(choices, "Choice", key, value=label)
    ElementTree.SubElement(choices, "Choice", value=none_choice(labels), hotkey="n")
    ElementTree.SubElement(view, "TextArea", about, name=NOTE, maxSubmissions="1", placeholder="a note")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def audio_address(uri: str, template: str) -> str:
    """Return the address of a clip. Raises ValueError for placeholders that it does not know."""
    bucket, path = split_s3(uri) if is_s3(uri) else ("", str(file_path(uri)).lstrip("/"))
    values = {"{uri}": uri, "{bucket}": bucket, "{path}": quote(path, errors="surrogateescape")}

    def filled(found: re.Match[str]) -> str:
        if (name := found.group()) not in values:
            raise ValueError(f"the address has {name}: there are {', '.join(values)}")
        return values[name]

    return _PLACEHOLDER.sub(filled, template)


def _task(clip: QueuedClip, answer: GivenAnswer, labels: Sequence[str], template: str) -> dict[str, Any]:
    data = {
        AUDIO: audio_address(clip.uri, template),
        "why": clip.reason,
        "review": clip.review,
        "library": f"{clip.library}@{clip.version}",
        "uri": clip.uri,
        "content_sha256": clip.content_sha256.hex(),
        NONE_KEY: none_choice(labels),
    }
    predictions = [] if clip.drawn == "random" else [_prediction(clip, answer, labels)]
    return {"data": data, "predictions": predictions}


def _prediction(clip: QueuedClip, answer: GivenAnswer, labels: Sequence[str]) -> Mapping[str, Any]:
    said = none_choice(labels) if clip.status == "unknown" else clip.label
    result = {"from_name": LABEL, "to_name": AUDIO, "type": "choices", "value": {"choices": [said]}}
    name = f"{clip.library}@{clip.version} by {answer.labeler}"
    return {"model_version": name, "score": answer.probability, "result": [result]}
