"""Rows of the tables that runs publish."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from db.generated import IN_CONTEXT
from db.libraries import LibraryVersion
from db.promotions import AnswerPair
from db.quarantine import QuarantinedClip
from db.recheck import SuspectCount
from flows.artifacts.markdown import cell
from flows.pipeline.generation.record import AudioAnswer
from flows.pipeline.generation.texts import Refused
from flows.pipeline.labeling.report import ClipAnswer, ClipAnswers
from flows.pipeline.runs.check import Check
from flows.pipeline.runs.counts import parts
from flows.pipeline.runs.run import OpenRun

if TYPE_CHECKING:  # imports torch, which most flows need not wait for
    from core.evaluation.tables import Table

ANSWER_COLUMNS = ("label", "margin", "nearest", "nearest by latent")
MAX_ROWS = 200
"""Longer tables open slowly. The rest is in the views of schema analytics."""
MAX_TEXT_CHARACTERS = 80


def count_rows(run: OpenRun) -> list[dict[str, str]]:
    """Return a row for each count, for flows that do not work clip by clip."""
    return [{"stage": stage, "what": name, "clips": str(n)} for stage, name, n in stage_counts(run.counts)]


def quarantine_rows(rows: Iterable[QuarantinedClip]) -> list[dict[str, str]]:
    """Return the clips that wait for replay, with the reason."""
    return [{"clip": cell(row.uri), "reason": row.reason, "message": cell(row.message)} for row in rows]


def suspect_rows(suspects: Iterable[SuspectCount]) -> list[dict[str, str]]:
    """Return the contents that a recheck reads again, by kind."""
    return [
        {"why": found.kind, "contents": str(found.contents), "MB": f"{found.size / 1e6:.1f}"}
        for found in suspects
    ]


def check_rows(checks: Iterable[Check]) -> list[dict[str, str]]:
    """Return each check with its finding and, if it failed or warns, the remedy."""
    return [
        {
            "check": check.name,
            "passed": {"ok": "yes", "warn": "warning", "FAIL": "NO"}[check.verdict],
            "finding": cell(check.finding),
            "remedy": cell(check.remedy),
        }
        for check in checks
    ]


def changed_rows(changed: Iterable[AnswerPair]) -> list[dict[str, str]]:
    """Return the clips that two sets of models label differently, the surest changes first."""
    return [
        {
            "clip": cell(clip.uri),
            "in use": f"{cell(clip.old_label)} ({clip.old_margin:.3f})",
            "new": f"{cell(clip.new_label)} ({clip.new_margin:.3f})",
        }
        for clip in sorted(changed, key=lambda clip: -clip.new_margin)
    ]


def library_rows(version: LibraryVersion) -> list[dict[str, str]]:
    """Return a library's demonstrations in order: the answer and the clip of each."""
    return [
        {"answer": cell(row.target_uri or row.label_or_text), "clip": cell(row.uri)}
        for row in version.demonstrations
    ]


def score_rows(table: "Table") -> list[dict[str, str]]:
    """Return the rows of the paper and our own, with a cell for each column."""
    from core.evaluation.tables import table_rows

    return [row | {"method": cell(row["method"])} for row in table_rows(table)]


def answer_rows(answers: ClipAnswers) -> list[dict[str, str]]:
    """Return rows for clips and their answers: unusable clips first, then the least certain answers."""
    return [_row(clip) for clip in answers.least_sure(MAX_ROWS)]


def refused_rows(refused: Iterable[Refused]) -> list[dict[str, str]]:
    """Return the refused lines as rows of the table of answers."""
    return [_audio_row(_visible(one.text), f"refused, line {one.number}: {one.reason}") for one in refused]


def audio_rows(answers: Iterable[AudioAnswer]) -> list[dict[str, str]]:
    """Return each question and the place of its audio, with unanswered ones first."""
    return [
        _audio_row(
            one.name,
            _audio_status(one),
            one.audio.uri if one.audio else "",
            one.audio.metrics if one.audio else {},
        )
        for one in sorted(answers, key=lambda one: one.audio is not None)
    ]


def _audio_status(answer: AudioAnswer) -> str:
    """Return the status with its reason, or with the method where that is another than in context."""
    if answer.reason:
        return f"{answer.status}: {answer.reason}"
    if answer.audio and answer.audio.method != IN_CONTEXT:
        return f"{answer.status}: {answer.audio.method}"
    return answer.status


def _visible(text: str) -> str:
    """Return the start of a text, with unprintable characters replaced."""
    return "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[:MAX_TEXT_CHARACTERS]
    )


def _audio_row(
    question: str, status: str, uri: str = "", metrics: Mapping[str, float | str] = {}
) -> dict[str, str]:
    measured = ", ".join(f"{name} {_measure(value)}" for name, value in metrics.items())
    return {"asked": cell(question), "status": cell(status), "audio": cell(uri), "metrics": cell(measured)}


def _measure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _row(clip: ClipAnswer) -> dict[str, str]:
    row = {"clip": cell(clip.uri), "status": clip.status} | dict.fromkeys(ANSWER_COLUMNS, "")
    if clip.answer is None:
        return row | {"status": f"{clip.status}: {clip.reason}" if clip.reason else clip.status}
    baselines = clip.answer.baselines
    return row | {
        "label": cell(clip.answer.label),
        "margin": f"{clip.answer.margin:.3f}",
        "nearest": cell(str(baselines["nearest"])),
        "nearest by latent": cell(str(baselines.get("nearest_latent", ""))),
    }


def stage_counts(counts: Mapping[str, int]) -> Iterable[tuple[str, str, int]]:
    for key, number in parts(counts).items():
        stage, _, name = key.partition(".")
        yield stage, name, number
