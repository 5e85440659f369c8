"""Decisions from the export of a Label Studio project; the same export again adds nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from db.engine import session_scope
from db.libraries import get_library
from db.reviews.decisions import (
    MAX_NOTE_LENGTH,
    MAX_REVIEWER_LENGTH,
    NewDecision,
    Source,
    Verdict,
    add_decisions,
    external_ids,
)
from db.reviews.queue import QueuedClip, missing_contents, queued_clips
from flows.pipeline.files.label_studio import AnnotatedTask, Annotation, by_time, none_choice, read_export
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime

SOURCE: Source = "label-studio"
MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class ImportedExport:
    """What an export brought: new decisions, and remarks on what a person should know."""

    new: int
    remarks: list[str]


@dataclass(frozen=True)
class _Decided:
    """An annotation of a queued clip, and the name that it is stored under."""

    clip: QueuedClip
    annotation: Annotation
    decision: NewDecision


def import_annotations(runtime: Runtime, name: str, text: str, reviewer: str = "") -> ImportedExport:
    """Store the annotations of an export as decisions, the earliest first.

    `reviewer` is the name of the one annotator whom the export names by a number. An annotation that was
    changed in Label Studio since is a new decision; an older export than one that was imported adds nothing.
    What is no decision about a queued clip is left out and remarked on. Raises ManifestError for a file that
    is no export.
    """
    tasks = read_export(name, text)
    names = _names(tasks, reviewer)
    numbers = {number for task in tasks if (number := _review(task)) is not None}
    with session_scope(runtime.engine) as session:
        queued = {clip.review: clip for clip in queued_clips(session, numbers)}
        labels = {
            version: {row.label_or_text for row in get_library(session, *version).demonstrations}
            for version in {(clip.library, clip.version) for clip in queued.values()}
        }
        decided, remarks = list[_Decided](), list[str]()
        for task, annotation in by_time(tasks):
            try:
                who = names.get(annotation.annotator, annotation.annotator)
                decided.append(_decided(name, who, task, annotation, queued, labels))
            except ManifestError as error:
                remarks.append(f"left out: annotation {annotation.id} of task {task.id} {error}")
        known = _latest(external_ids(session, SOURCE, queued.keys()))
        fresh = [one.decision for one in decided if _is_later(one.annotation, one.clip, known)]
        gone = missing_contents(session, {one.clip.content_sha256 for one in decided})
        return ImportedExport(
            add_decisions(session, SOURCE, fresh), [*remarks, *_disputes(decided), *_gone(decided, gone)]
        )


def _names(tasks: Iterable[AnnotatedTask], reviewer: str) -> dict[str, str]:
    """Return the given name for the annotator who has only a number. Raises ManifestError for several."""
    numbered = {one.annotator for task in tasks for one in task.annotations if not one.address}
    if reviewer and len(numbered) > 1:
        raise ManifestError(
            f"the export has {', '.join(sorted(numbered))}: --reviewer names one person; leave it out, or "
            "export with the annotators' addresses"
        )
    return dict.fromkeys(numbered, reviewer) if reviewer else {}


def _review(task: AnnotatedTask) -> int | None:
    number = task.data.get("review")
    return number if isinstance(number, int) and 0 < number < 2**63 else None


def _decided(
    name: str,
    reviewer: str,
    task: AnnotatedTask,
    annotation: Annotation,
    queued: Mapping[int, QueuedClip],
    labels: Mapping[tuple[str, int], Collection[str]],
) -> _Decided:
    """Return the decision of an annotation. Raises ManifestError with why it is none."""
    clip = queued.get(_review(task) or 0)
    if clip is None or clip.content_sha256.hex() != task.data.get("content_sha256"):
        raise ManifestError(
            "is about no clip that is queued here: its task was not made by wordwave review-queue of this "
            "database"
        )
    verdict, label = _verdict(annotation, clip, labels[clip.library, clip.version])
    decision = NewDecision(
        review_id=clip.review,
        verdict=verdict,
        label=label,
        note=_note(annotation),
        reviewer=reviewer[:MAX_REVIEWER_LENGTH],
        came_from=name[-1_000:],
        shown=_shown(clip, task, annotation),
        external_id=f"{_id(annotation, clip)} {annotation.moment.astimezone(UTC):{MOMENT}}",
    )
    return _Decided(clip, annotation, decision)


def _verdict(annotation: Annotation, clip: QueuedClip, labels: Collection[str]) -> tuple[Verdict, str | None]:
    if annotation.was_cancelled:
        return "skip", None
    choices = annotation.texts("choices")
    if len(choices) != 1:
        raise ManifestError(f"has {len(choices)} labels, it needs one: choose one there, or skip the task")
    if choices[0] == none_choice(labels):
        return "none", None
    if choices[0] not in labels:
        raise ManifestError(
            f"says {choices[0]!r}, which is no label of {clip.library}@{clip.version}: use its labeling "
            "config"
        )
    return "label", choices[0]


def _note(annotation: Annotation) -> str | None:
    note = "\n".join(annotation.texts("textarea")).strip()
    if len(note) > MAX_NOTE_LENGTH:
        raise ManifestError(f"has a note of {len(note)} characters, the limit is {MAX_NOTE_LENGTH}")
    return note or None


def _shown(clip: QueuedClip, task: AnnotatedTask, annotation: Annotation) -> dict[str, object]:
    """Return what the annotator saw, and when they were done."""
    answer = None if clip.drawn == "random" else {"label": clip.label, "margin": clip.margin}
    moment = annotation.moment.isoformat()
    return {"answer": answer, "status": clip.status, "drawn": clip.drawn, "task": task.id, "at": moment}


def _id(annotation: Annotation, clip: QueuedClip) -> str:
    """Return the annotation's name: its own, which old servers do not give."""
    return annotation.unique_id or f"review {clip.review} annotation {annotation.id}"


def _latest(names: Iterable[str]) -> dict[str, datetime]:
    """Return the last moment that is stored of each annotation."""
    latest: dict[str, datetime] = {}
    for name in names:
        annotation, _, moment = name.rpartition(" ")
        at = datetime.strptime(moment, MOMENT).replace(tzinfo=UTC)
        latest[annotation] = max(at, latest.get(annotation, at))
    return latest


def _is_later(annotation: Annotation, clip: QueuedClip, known: Mapping[str, datetime]) -> bool:
    before = known.get(_id(annotation, clip))
    return before is None or annotation.moment > before


def _disputes(decided: Iterable[_Decided]) -> Iterator[str]:
    """Yield the clips about which annotators differ; the latest counts."""
    said: dict[int, dict[str, _Decided]] = {}
    for one in decided:
        if one.decision.verdict != "skip":
            said.setdefault(one.clip.review, {})[one.decision.reviewer] = one
    for opinions in said.values():
        if len({one.decision.label for one in opinions.values()}) > 1:
            texts = [f"{who} {one.decision.label or 'none'}" for who, one in opinions.items()]
            clip = next(iter(opinions.values())).clip
            yield f"disputed: {clip.uri} is {', '.join(texts)}; the latest decision counts"


def _gone(decided: Iterable[_Decided], gone: Collection[bytes]) -> Iterator[str]:
    """Yield the clips that are not there any more."""
    for clip in {one.clip.review: one.clip for one in decided}.values():
        if clip.content_sha256 in gone:
            yield f"gone: {clip.uri} was replaced or deleted since; the decision counts by its stored codes"
