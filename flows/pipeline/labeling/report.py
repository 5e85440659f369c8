"""Reports of a labeled place for people and programs: one row per clip, in listing order."""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from db.clips import TOKENIZE_STAGE, Selection, clip_uris
from db.engine import session_scope
from db.predictions import Answer
from db.quarantine import QuarantinedClip, open_quarantine
from flows.pipeline.labeling.label import NEIGHBOR_BASELINES, AnswerStatus, Labeling, query_parts
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.setup import TASK
from flows.pipeline.libraries.by_label import NONE_OF_THEM
from flows.pipeline.runtime.printable import printable
from flows.pipeline.runtime.resources import Runtime


@dataclass(frozen=True)
class ClipAnswer:
    """A clip's answer, or the reason why it has none.

    By a multi-label library, `by_label` has the answers, and `answer` is what they say together.
    """

    uri: str
    status: AnswerStatus | Literal["quarantined", "pending"]
    answer: Answer | None = None
    reason: str | None = None
    by_label: Mapping[str, "ClipAnswer"] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The label of an answered clip, or the labels of which it may have several."""
        if self.by_label:
            return [label for label, one in self.by_label.items() if one.says(label)]
        return [self.answer.label] if self.answer else []

    def says(self, label: str) -> bool:
        """Return whether the clip is answered to have a label, and is not unknown."""
        return self.answer is not None and self.answer.label == label and self.status != "unknown"


class ClipAnswers:
    """The selected current clips in listing order: answered by this request, quarantined or pending.

    They are read in parts, since all answers may not fit in memory.
    """

    def __init__(self, labeling: Labeling | Labelings, selection: Selection) -> None:
        self._labelings = labeling.all if isinstance(labeling, Labelings) else (labeling,)
        self._labels = [*labeling.by_label] if isinstance(labeling, Labelings) else []
        self._selection = selection
        with session_scope(labeling.runtime.engine) as session:
            self._uris = clip_uris(session, selection)
            waiting = open_quarantine(session, selection, TOKENIZE_STAGE, TASK)
        self._reasons = {row.uri: row.reason for row in waiting}

    def __len__(self) -> int:
        return len(self._uris)

    def __iter__(self) -> Iterator[ClipAnswer]:
        return self._read(self._uris)

    def least_sure(self, count: int) -> list[ClipAnswer]:
        """Return up to `count` clips: those without an answer, then those with the smallest margins."""
        margins = [labeling.margins(self._selection) for labeling in self._labelings]

        def least(uri: str) -> float:
            return min(known.get(uri, -math.inf) for known in margins)

        return list(self._read(heapq.nsmallest(count, self._uris, least)))

    def _read(self, uris: Sequence[str]) -> Iterator[ClipAnswer]:
        for some in query_parts(uris):
            for answers in zip(*(self._answers(one, some) for one in self._labelings), strict=True):
                yield _together(dict(zip(self._labels, answers, strict=True))) if self._labels else answers[0]

    def _answers(self, labeling: Labeling, uris: Sequence[str]) -> list[ClipAnswer]:
        answers = {answer.uri: answer for answer in labeling.answers(set(uris))}
        return [self._clip_answer(labeling, uri, answers.get(uri)) for uri in uris]

    def _clip_answer(self, labeling: Labeling, uri: str, answer: Answer | None) -> ClipAnswer:
        if answer is None:
            reason = self._reasons.get(uri)
            return ClipAnswer(uri, "quarantined" if reason else "pending", reason=reason)
        return ClipAnswer(uri, labeling.status(answer), answer)


def _together(by_label: Mapping[str, ClipAnswer]) -> ClipAnswer:
    """Return what the answers by label say together, which is as sure as the least sure one of them."""
    without = next((one for one in by_label.values() if one.answer is None), None)
    if without:
        return replace(without, by_label=by_label)
    answers = {label: one.answer for label, one in by_label.items() if one.answer}
    least_sure = min(answers.values(), key=lambda answer: answer.margin)
    text = labels_shown(label for label, one in by_label.items() if one.says(label))
    together = replace(
        least_sure,
        label=text,
        probabilities={text: least_sure.probability},
        raw_probabilities=None,
        labeler=", ".join(sorted({answer.labeler for answer in answers.values()})),
        baselines={name: _guessed(name, answers) for name in _known_of_all(answers.values())},
    )
    statuses = {one.status for one in by_label.values()}
    status = next(iter(statuses)) if len(statuses) == 1 else "uncertain"
    return ClipAnswer(least_sure.uri, status, together, by_label=by_label)


def _known_of_all(answers: Iterable[Answer]) -> Iterator[str]:
    return (name for name in NEIGHBOR_BASELINES if all(name in answer.baselines for answer in answers))


def _guessed(baseline: str, answers: Mapping[str, Answer]) -> str:
    return labels_shown(label for label, answer in answers.items() if answer.baselines[baseline] == label)


def labels_shown(labels: Iterable[str]) -> str:
    """Return the labels of a clip for people."""
    return "; ".join(labels) or NONE_OF_THEM


def quarantined(runtime: Runtime, selection: Selection) -> list[QuarantinedClip]:
    """Return the selected clips that wait for replay."""
    with session_scope(runtime.engine) as session:
        return open_quarantine(session, selection)


def json_rows(answers: Iterable[ClipAnswer]) -> Iterator[dict[str, object]]:
    """Yield rows for JSON: uri, label, probability, margin and status, then labeler, baselines or reason.

    By a multi-label library: uri, labels, probabilities, margin and status, then the labels that are
    uncertain and unknown and the labelers, or the reason.
    """
    for clip in answers:
        if clip.by_label:
            yield _row_by_label(clip)
            continue
        row: dict[str, object] = {"uri": clip.uri, "label": None, "probability": None, "margin": None}
        if clip.answer:
            row |= {
                "label": clip.answer.label,
                "probability": clip.answer.probability,
                "margin": clip.answer.margin,
            }
        row["status"] = clip.status
        if clip.answer:
            row |= {"labeler": clip.answer.labeler, "baselines": dict(clip.answer.baselines)}
        if clip.reason:
            row["reason"] = clip.reason
        yield row


def _row_by_label(clip: ClipAnswer) -> dict[str, object]:
    answers = {label: one.answer for label, one in clip.by_label.items() if one.answer}
    row: dict[str, object] = {"uri": clip.uri, "labels": None, "probabilities": None, "margin": None}
    if clip.answer:
        row["labels"] = clip.labels
        row["probabilities"] = {label: answer.probabilities[label] for label, answer in answers.items()}
        row["margin"] = clip.answer.margin
    row["status"] = clip.status
    if clip.answer:
        for status in ("uncertain", "unknown"):
            row[status] = [label for label, one in clip.by_label.items() if one.status == status]
        row["labelers"] = {label: answer.labeler for label, answer in answers.items()}
    return row | ({"reason": clip.reason} if clip.reason else {})


def table_lines(answers: Iterable[ClipAnswer]) -> Iterator[str]:
    """Yield the lines of a table. The uri comes last, since it may be long."""
    yield f"{'label':<16}{'probability':>11}{'margin':>8}  {'status':<12} clip"
    for clip in answers:
        numbers = f"{clip.answer.probability:>11.3f}{clip.answer.margin:>8.3f}" if clip.answer else " " * 19
        label = clip.answer.label if clip.answer else "-"
        status = f"{clip.status}: {clip.reason}" if clip.reason else clip.status
        yield printable(f"{label:<16}{numbers}  {status:<12} {clip.uri}")
