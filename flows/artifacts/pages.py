"""Pages and tables of runs.

Names and messages come from outside and are escaped. Nothing here holds a credential.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from db.libraries import LibraryVersion
from db.promotions import AnswerPair
from db.quarantine import QuarantinedClip
from db.recheck import SuspectCount
from flows.pipeline.generation.job import Generated
from flows.pipeline.generation.record import AudioAnswer
from flows.pipeline.generation.texts import Refused
from flows.pipeline.labeling.library_review import LibraryReview, name_of
from flows.pipeline.labeling.report import ClipAnswer, ClipAnswers
from flows.pipeline.runs.check import Check
from flows.pipeline.runs.counts import parts
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.runtime.printable import printable

if TYPE_CHECKING:  # imports torch, which most flows need not wait for
    from core.evaluation.tables import Table

SPACES = {ord(sign): " " for sign in "\n\r"}
NO_WIDTH = "\u200b"
MARKUP = {ord(sign): f"&#{ord(sign)};" for sign in "|`[]\\"} | SPACES
"""What markdown would take for more than text."""
ANSWER_COLUMNS = ("label", "margin", "nearest", "nearest by latent")
MAX_ROWS = 200
"""A table of more is slow to open; the rest is in the views of schema analytics."""
MAX_REFUSED_LINES, MAX_TEXT_CHARACTERS = 20, 80
"""Refused lines that a page names, and characters of each in the table."""


_pages: set[tuple[str, str]] = set()
"""Flow runs and keys of the pages that this process has left."""


@dataclass(frozen=True)
class FlowRunRef:
    """A flow run of Prefect as a page names it."""

    id: str
    name: str

    @classmethod
    def current(cls) -> "FlowRunRef | None":
        """Return the current flow run, or None outside of one."""
        return cls(flow_run.id, flow_run.name) if flow_run.id else None

    def __str__(self) -> str:
        return f"`{self.id}` ({escape(self.name)})"


def has_page(flow_run_id: str, key: str) -> bool:
    """Return whether this process has published a page of a flow run."""
    return (flow_run_id, key) in _pages


def _note_page(key: str, artifacts: str) -> None:
    """Log where the page of the running flow is."""
    _pages.add((flow_run.id, key))
    get_run_logger().info("the results of this run are under Artifacts: %s", artifacts)


def publish(
    key: str, place: str, run: OpenRun, rows: Sequence[Mapping[str, str]], total: int | None = None
) -> None:
    """Publish the page of a run and its table."""
    publish_page(key, place, summary(place, run), rows, total)


def publish_page(
    key: str, place: str, page: str, rows: Sequence[Mapping[str, str]], total: int | None = None
) -> None:
    """Publish a markdown page about a place, and a table with the first of `total` rows."""
    create_markdown_artifact(markdown=page, key=f"{key}-summary", description=cell(place))
    _note_page(key, f"{key}-summary and {key}-table")
    create_table_artifact(
        table=[dict(row) for row in rows[:MAX_ROWS]],
        key=f"{key}-table",
        description=f"{min(len(rows), MAX_ROWS)} of {len(rows) if total is None else total} rows",
    )


def publish_audio(key: str, place: str, done: Generated) -> None:
    """Publish the page of a run that generated audio, with a link to its listening page, and its table."""
    record = done.record
    sections = [refused_lines(record.refused)] if record.refused else []
    page = summary(place, done.run, *sections, kept="To look at and listen to")
    publish_page(key, place, page, [*refused_rows(record.refused), *audio_rows(record.answers)])


def publish_checks(key: str, checks: Sequence[Check]) -> None:
    """Publish the table of checks, for flows that are not the run of a partition."""
    failed = sum(not check.passed for check in checks)
    _note_page(key, f"{key}-table")
    create_table_artifact(
        table=check_rows(checks),
        key=f"{key}-table",
        description=f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} passed",
    )


def count_rows(run: OpenRun) -> list[dict[str, str]]:
    """Return a row for each count, for flows that do not work clip by clip."""
    return [{"stage": stage, "what": name, "clips": str(n)} for stage, name, n in _counted(run.counts)]


def quarantine_rows(rows: Iterable[QuarantinedClip]) -> list[dict[str, str]]:
    """Return the clips that wait for replay, with the reason."""
    return [{"clip": cell(row.uri), "reason": row.reason, "message": cell(row.message)} for row in rows]


def suspect_rows(suspects: Iterable[SuspectCount]) -> list[dict[str, str]]:
    """Return the contents that a recheck reads again, by kind."""
    return [
        {"why": found.kind, "contents": str(found.contents), "MB": f"{found.size / 1e6:.1f}"}
        for found in suspects
    ]


def refused_library_lines(libraries: Iterable[str]) -> list[str]:
    """Return a line for each library that shows a clip which is refused now."""
    return [
        f"- `{code(library)}` shows a clip that is refused now: import it again without that clip."
        for library in libraries
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


def library_page(reviewed: LibraryReview, canaries: str | None, run: OpenRun) -> str:
    """Return the page of a library version: what it would change, then its labels with their counts."""
    sentences = [*reviewed.sentences, *([canaries] if canaries else [])]
    labels = ["| answer | clips |", "| --- | ---: |"]
    labels += [f"| {escape(label)} | {clips} |" for label, clips in reviewed.labels.most_common()]
    return summary(name_of(reviewed.version), run, [f"- {escape(line)}" for line in sentences], labels)


def library_rows(version: LibraryVersion) -> list[dict[str, str]]:
    """Return a library's demonstrations in order: the answer and the clip of each."""
    return [
        {"answer": cell(row.target_uri or row.label_or_text), "clip": cell(row.uri)}
        for row in version.demonstrations
    ]


def evaluation_page(place: str, table: "Table", run: OpenRun) -> str:
    """Return the page of an evaluation: the verdict, what the intervals mean, and the confusion table."""
    from core.evaluation.verdict import INTERVALS_EXPLAINED, confusion_rows

    verdicts = [*(f"- {escape(line)}" for line in table.verdicts), "", INTERVALS_EXPLAINED]
    if not table.confusion:
        return summary(place, run, verdicts, kept="Figures")
    head, *rows = ([escape(text) for text in row] for row in confusion_rows(table.confusion))
    matrix = [f"Answers of {escape(table.answering[0])}, {table.column_name(table.columns[0])}:", ""]
    matrix += [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    matrix += [f"| {' | '.join(row)} |" for row in rows]
    about = [f"- {escape(line)}" for line in table.about]
    return summary(place, run, verdicts, matrix, about, kept="Figures")


def score_rows(table: "Table") -> list[dict[str, str]]:
    """Return the rows of the paper and our own, with a cell for each column."""
    from core.evaluation.tables import table_rows

    return [row | {"method": cell(row["method"])} for row in table_rows(table)]


def answer_rows(answers: ClipAnswers) -> list[dict[str, str]]:
    """Return rows for clips and their answers: unusable clips first, then the least certain answers."""
    return [_row(clip) for clip in answers.least_sure(MAX_ROWS)]


def refused_lines(refused: Sequence[Refused]) -> list[str]:
    """Return the first refused lines, and where to find all of them."""
    lines = [f"{len(refused)} lines were set aside. All of them are in `refused.jsonl` next to the page:", ""]
    return lines + [f"- line {one.number}: {escape(one.reason)}" for one in refused[:MAX_REFUSED_LINES]]


def refused_rows(refused: Iterable[Refused]) -> list[dict[str, str]]:
    """Return the refused lines as rows of the table of answers."""
    return [_audio_row(_visible(one.text), f"refused, line {one.number}: {one.reason}") for one in refused]


def _visible(text: str) -> str:
    """Return the start of a text, with unprintable characters replaced."""
    return "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[:MAX_TEXT_CHARACTERS]
    )


def audio_rows(answers: Iterable[AudioAnswer]) -> list[dict[str, str]]:
    """Return each question and the place of its audio, with unanswered ones first."""
    return [
        _audio_row(
            one.name,
            f"{one.status}: {one.reason}" if one.reason else one.status,
            one.audio.uri if one.audio else "",
            one.audio.metrics if one.audio else {},
        )
        for one in sorted(answers, key=lambda one: one.audio is not None)
    ]


def _audio_row(
    question: str, status: str, uri: str = "", metrics: Mapping[str, float] = {}
) -> dict[str, str]:
    measured = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
    return {"asked": cell(question), "status": cell(status), "audio": cell(uri), "metrics": measured}


def summary(place: str, run: OpenRun, *sections: Iterable[str], kept: str = "Exported") -> str:
    """Return a page as markdown: sections, then counts, then where the output was kept."""
    ends = [f"{kept}: `{code(run.manifest)}`"] if run.manifest else []
    return count_page(place, run.id, FlowRunRef.current(), run.counts, *sections, ends=ends)


def count_page(
    place: str,
    run_id: UUID,
    flow_run: "FlowRunRef | None",
    counts: Mapping[str, int],
    *sections: Iterable[str],
    ends: Sequence[str] = (),
) -> str:
    """Return the page of a run, under both of its ids."""
    lines = [f"## {escape(place)}", "", f"Run `{run_id}`" + (f", flow run {flow_run}" if flow_run else "")]
    for section in sections:
        lines += ["", *section]
    lines += ["", "| stage | what | count |", "| --- | --- | ---: |"]
    lines += [f"| {stage} | {escape(name)} | {number} |" for stage, name, number in _counted(counts)]
    for end in ends:
        lines += ["", end]
    return "\n".join([*lines, "", f"More: {_query('labels', run_id)}, {_query('generated', run_id)}."])


def _query(view: str, run_id: UUID) -> str:
    return f"`SELECT * FROM analytics.{view} WHERE run = '{run_id}'`"  # noqa: S608  is shown, not run


def escape(text: str) -> str:
    """Return a text in which markup, links, images, table cells, code and terminal codes have no effect."""
    return printable(html.escape(text).translate(MARKUP))


def cell(text: str) -> str:
    """Return a text for a cell of a table, which one UI shows as it is and the older one reads as markdown.

    Tags and links are broken by a space without width: HTML entities would be shown.
    """
    return printable(text.translate(SPACES)).replace("<", f"<{NO_WIDTH}").replace("]", f"]{NO_WIDTH}")


def code(text: str) -> str:
    """Return a text to put between backticks, where HTML entities would be shown."""
    return printable(text.translate(SPACES)).replace("`", "'")


def _counted(counts: Mapping[str, int]) -> Iterable[tuple[str, str, int]]:
    for key, number in parts(counts).items():
        stage, _, name = key.partition(".")
        yield stage, name, number


def _part(name: str) -> str:
    """Name what is counted; a part of the count before it says so, since the rows do not add up."""
    whole, _, reason = name.partition(":")
    if whole == "quarantined" and reason:
        return f"of these {reason}"
    return "of these uncertain" if name == "uncertain" else name


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
