"""Libraries from a Label Studio project: each annotated task is a clip with its label."""

from collections.abc import Iterator

from pydantic import ValidationError

from flows.pipeline.files.label_studio import AnnotatedTask, Annotation, is_none, read_export
from flows.pipeline.libraries.manifest import MAX_LINES_IN_ERROR, MAX_ROWS, LabeledClipRow
from flows.pipeline.libraries.rows import ManifestError


def annotated_rows(name: str, text: str) -> dict[int, LabeledClipRow]:
    """Return the clips of an export by task, each with the choice that its latest annotation made.

    An annotation that is ground truth goes before the others. Skipped and open tasks are left out, and those
    that are none of the labels. A clip is the `uri` of a task, else its one value that is a place. Raises
    ManifestError.
    """
    rows, wrong = dict[int, LabeledClipRow](), list[str]()
    for task in read_export(name, text):
        try:
            if (best := _best(task)) and not is_none(task, label := _label(best)):
                rows[task.id] = LabeledClipRow(path=_clip(task), label=label)
        except (ManifestError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            wrong.append(f"task {task.id}: {reason}")
    if wrong:
        more = f" and {len(wrong) - MAX_LINES_IN_ERROR} more" if len(wrong) > MAX_LINES_IN_ERROR else ""
        raise ManifestError("; ".join(wrong[:MAX_LINES_IN_ERROR]) + more)
    if not 0 < len(rows) <= MAX_ROWS:
        raise ManifestError(f"{name} has {len(rows)} annotated tasks, 1 to {MAX_ROWS} are needed")
    return rows


def _best(task: AnnotatedTask) -> Annotation | None:
    made = [one for one in task.annotations if not one.was_cancelled]
    return max(made, key=lambda one: (one.ground_truth, one.moment, one.id), default=None)


def _label(annotation: Annotation) -> str:
    choices = annotation.texts("choices")
    if len(choices) != 1:
        raise ManifestError(
            f"it has {len(choices)} choices, one is needed; regions become clips from Audacity's labels, by "
            "wordwave library cut"
        )
    return choices[0]


def _clip(task: AnnotatedTask) -> str:
    places = [*_places(task)]
    if "uri" in task.data or len(places) == 1:
        return str(task.data.get("uri", places[0] if places else ""))
    raise ManifestError(
        f"its data has {len(places)} places of clips, one is needed: s3:// or file://; an upload to "
        "Label Studio has none that can be read here"
    )


def _places(task: AnnotatedTask) -> Iterator[str]:
    for value in task.data.values():
        if isinstance(value, str) and value.startswith(("s3://", "file://")):
            yield value
