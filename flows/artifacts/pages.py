"""Pages of runs, and how they are published.

Names and messages come from outside and are escaped. Nothing here holds a credential.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.artifacts.markdown import cell, code, escape
from flows.artifacts.tables import MAX_ROWS, audio_rows, check_rows, refused_rows, stage_counts
from flows.pipeline.generation.job import Generated
from flows.pipeline.generation.texts import Refused
from flows.pipeline.labeling.library_review import LibraryReview, name_of
from flows.pipeline.runs.check import Check
from flows.pipeline.runs.run import OpenRun

if TYPE_CHECKING:  # imports torch, which most flows need not wait for
    from core.evaluation.tables import Table

MAX_REFUSED_LINES = 20

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


def publish_run(
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
    if record.remark:
        sections.append([f"{escape(record.remark)}."])
    if record.choice:
        sections.append([f"The method was chosen: {escape(record.choice.reason)}."])
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


def refused_library_lines(libraries: Iterable[str]) -> list[str]:
    """Return a line for each library that shows a clip which is refused now."""
    return [
        f"- `{code(library)}` shows a clip that is refused now: import it again without that clip."
        for library in libraries
    ]


def left_answers_lines(left: int) -> list[str]:
    """Return a line about retracted answers of models that a recheck did not have, if there are any."""
    if not left:
        return []
    return [
        f"- {left} retracted answers are of other models than these: run the same with those to redo them."
    ]


def library_page(reviewed: LibraryReview, canaries: str | None, run: OpenRun) -> str:
    """Return the page of a library version: what it would change, then its labels with their counts."""
    sentences = [*reviewed.sentences, *([canaries] if canaries else [])]
    labels = ["| answer | clips |", "| --- | ---: |"]
    labels += [f"| {escape(label)} | {clips} |" for label, clips in reviewed.labels.most_common()]
    return summary(name_of(reviewed.version), run, [f"- {escape(line)}" for line in sentences], labels)


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


def refused_lines(refused: Sequence[Refused]) -> list[str]:
    """Return the first refused lines, and where to find all of them."""
    lines = [f"{len(refused)} lines were set aside. All of them are in `refused.jsonl` next to the page:", ""]
    return lines + [f"- line {one.number}: {escape(one.reason)}" for one in refused[:MAX_REFUSED_LINES]]


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
    lines += [f"| {stage} | {escape(name)} | {number} |" for stage, name, number in stage_counts(counts)]
    for end in ends:
        lines += ["", end]
    return "\n".join([*lines, "", f"More: {_query('labels', run_id)}, {_query('generated', run_id)}."])


def _query(view: str, run_id: UUID) -> str:
    return f"`SELECT * FROM analytics.{view} WHERE run = '{run_id}'`"  # noqa: S608  is shown, not run
