"""Exports in the form in which Label Studio 1.23 writes them."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid5

Annotated = dict[str, Any]


def annotation(
    number: int,
    label: str | None,
    *,
    by: object = 1,
    at: str = "2026-11-30T08:00:00.000000Z",
    note: str | None = None,
) -> Annotated:
    """What an annotator submitted; no label: the task was skipped."""
    rows = [] if label is None else [_row("label", "choices", {"choices": [label]})]
    rows += [] if note is None else [_row("note", "textarea", {"text": [note]})]
    return {
        "id": number,
        "completed_by": by,
        "result": rows,
        "was_cancelled": label is None,
        "ground_truth": False,
        "created_at": at,
        "updated_at": at,
        "lead_time": 4.2,
        "prediction": {},
        "unique_id": str(uuid5(NAMESPACE_OID, str(number))),
        "last_action": None,
        "task": number,
    }


def _row(control: str, kind: str, value: Any) -> Any:
    return {
        "from_name": control,
        "to_name": "audio",
        "type": kind,
        "id": "x1",
        "origin": "manual",
        "value": value,
    }


def export(tasks: Sequence[Any], *annotations: Sequence[Annotated]) -> str:
    """The export of a project of these tasks, each with its annotations."""
    found = [*annotations, *[()] * (len(tasks) - len(annotations))]
    return json.dumps(
        [
            {
                "id": number,
                "data": task["data"],
                "annotations": list(said),
                "drafts": [],
                "predictions": [],
                "meta": {},
            }
            for number, (task, said) in enumerate(zip(tasks, found, strict=True), start=1)
        ]
    )
