"""Reports of a labeled place for people and programs: one row per clip, in listing order."""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from db.clips import TOKENIZE_STAGE, Selection, clip_uris
from db.engine import session_scope
from db.predictions import Answer
from db.quarantine import QuarantinedClip, open_quarantine
from flows.pipeline.labeling.label import AnswerStatus, Labeling, parts
from flows.pipeline.labeling.setup import TASK
from flows.pipeline.runtime.printable import printable
from flows.pipeline.runtime.resources import Runtime


@dataclass(frozen=True)
class ClipAnswer:
    """A clip's answer, or the reason why it has none."""

    uri: str
    status: AnswerStatus | Literal["quarantined", "pending"]
    answer: Answer | None = None
    reason: str | None = None


class ClipAnswers:
    """The selected current clips in listing order: answered by this request, quarantined or pending.

    They are read in parts, since all answers may not fit in memory.
    """

    def __init__(self, labeling: Labeling, selection: Selection) -> None:
        self._labeling, self._selection = labeling, selection
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
        margins = self._labeling.margins(self._selection)
        return list(self._read(heapq.nsmallest(count, self._uris, lambda uri: margins.get(uri, -math.inf))))

    def _read(self, uris: Sequence[str]) -> Iterator[ClipAnswer]:
        for some in parts(uris):
            answers = {answer.uri: answer for answer in self._labeling.answers(set(some))}
            for uri in some:
                yield self._clip_answer(uri, answers.get(uri))

    def _clip_answer(self, uri: str, answer: Answer | None) -> ClipAnswer:
        if answer is None:
            reason = self._reasons.get(uri)
            return ClipAnswer(uri, "quarantined" if reason else "pending", reason=reason)
        return ClipAnswer(uri, self._labeling.status(answer), answer)


def quarantined(runtime: Runtime, selection: Selection) -> list[QuarantinedClip]:
    """Return the selected clips that wait for replay."""
    with session_scope(runtime.engine) as session:
        return open_quarantine(session, selection)


def json_rows(answers: Iterable[ClipAnswer]) -> Iterator[dict[str, object]]:
    """Yield rows for JSON: uri, label, probability, margin and status, then labeler, baselines or reason."""
    for clip in answers:
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


def table_lines(answers: Iterable[ClipAnswer]) -> Iterator[str]:
    """Yield the lines of a table. The uri comes last, since it may be long."""
    yield f"{'label':<16}{'probability':>11}{'margin':>8}  {'status':<12} clip"
    for clip in answers:
        numbers = f"{clip.answer.probability:>11.3f}{clip.answer.margin:>8.3f}" if clip.answer else " " * 19
        label = clip.answer.label if clip.answer else "-"
        status = f"{clip.status}: {clip.reason}" if clip.reason else clip.status
        yield printable(f"{label:<16}{numbers}  {status:<12} {clip.uri}")
