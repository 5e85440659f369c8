"""The JSON export of a Label Studio project: its tasks, and what annotators said about each."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from flows.pipeline.libraries.rows import ManifestError


class ExportPart(BaseModel):
    """A part of an export; what is not named here is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Annotator(ExportPart):
    """Who annotated, in exports that say more than a number."""

    id: int
    email: str = ""


class AnnotationResult(ExportPart):
    """What a control of the labeling config was given, such as `{"choices": ["dog"]}`."""

    from_name: str = ""
    type: str = ""
    value: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The choices or the text."""
        given = self.value.get("text" if self.type == "textarea" else self.type, ())
        return [str(one) for one in ([given] if isinstance(given, str) else given)]


class Annotation(ExportPart):
    """What one annotator said about a task; a skipped task has an annotation that was cancelled."""

    id: int
    unique_id: str | None = None
    completed_by: Annotator | int | None = None
    was_cancelled: bool = False
    ground_truth: bool = False
    updated_at: datetime
    result: tuple[AnnotationResult, ...] = ()

    @property
    def address(self) -> str | None:
        """The address of who annotated; a plain export has a number only."""
        return self.completed_by.email if isinstance(self.completed_by, Annotator) else None

    @property
    def annotator(self) -> str:
        """The address of who annotated, else the number."""
        who = self.completed_by
        return self.address or f"annotator {who.id if isinstance(who, Annotator) else who}"

    @property
    def moment(self) -> datetime:
        """When it was last changed."""
        return self.updated_at if self.updated_at.tzinfo else self.updated_at.replace(tzinfo=UTC)

    def texts(self, kind: str) -> list[str]:
        """Return what was given to the controls of a kind: choices, or textarea."""
        return [text for one in self.result if one.type == kind for text in one.texts]


class AnnotatedTask(ExportPart):
    """A task with its annotations."""

    id: int
    data: Mapping[str, Any]
    annotations: tuple[Annotation, ...]


NONE = "none of these"
NONE_KEY = "none"
"""Under what the data of a task that wordwave made says how none of the labels is called."""
_TASKS = TypeAdapter(tuple[AnnotatedTask, ...])


def is_export(text: str) -> bool:
    """Return whether a file is a list, as an export is; manifests and tables are none."""
    return text.lstrip().startswith("[")


def read_export(name: str, text: str) -> tuple[AnnotatedTask, ...]:
    """Return the tasks of an export. Raises ManifestError for another file, or another form of export."""
    try:
        return _TASKS.validate_python(json.loads(text))
    except RecursionError:
        raise ManifestError(f"{name} is no export of Label Studio: it is nested too deep") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ManifestError(
            f"{name} is no JSON export of Label Studio: {place}: {first['msg']}; export the project as JSON, "
            "not as JSON-MIN or CSV"
        ) from None
    except ValueError as error:
        raise ManifestError(f"{name} is not JSON: {error}") from None


def by_time(tasks: Iterable[AnnotatedTask]) -> list[tuple[AnnotatedTask, Annotation]]:
    """Return each annotation with its task, the earliest first."""
    pairs = [(task, one) for task in tasks for one in task.annotations]
    return sorted(pairs, key=lambda pair: (pair[1].moment, pair[1].id))


def none_choice(labels: Collection[str]) -> str:
    """Return what the choice of none of the labels is called: no label is called so."""
    name = NONE
    while name in labels:
        name = f"({name})"
    return name


def is_none(task: AnnotatedTask, choice: str) -> bool:
    """Return whether a choice about a task that wordwave made was none of the labels."""
    return "review" in task.data and choice == task.data.get(NONE_KEY, NONE)
