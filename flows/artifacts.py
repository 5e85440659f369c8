"""What a run tells people: one page of what was done, skipped and quarantined, and one table of clips.

Names and messages come from outside and are escaped; nothing here holds a credential.
"""

import html
from collections.abc import Iterable, Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.stages.report import ClipAnswer
from flows.stages.run import OpenRun

MAX_ROWS = 200
"""A table of more is slow to open; the rest is in the view analytics.labels."""
QUARANTINED = "tokenize.quarantined"


def publish_summary(key: str, place: str, run: OpenRun) -> None:
    """The counts of a run by stage."""
    create_markdown_artifact(markdown=summary(place, run), key=f"{key}-summary", description=escape(place))


def publish_answers(key: str, answers: Sequence[ClipAnswer]) -> None:
    """The answers of a place: what cannot be used first, then the least sure ones."""
    rows = [_row(answer) for answer in _first(answers)]
    create_table_artifact(
        table=rows, key=f"{key}-clips", description=f"{len(rows)} of {len(answers)} clips, the doubtful first"
    )


def summary(place: str, run: OpenRun) -> str:
    """The page as markdown."""
    lines = [f"## {escape(place)}", "", f"Run `{run.id}`", ""]
    lines += ["| stage | what | clips |", "| --- | --- | ---: |"]
    lines += [f"| {stage} | {escape(name)} | {number} |" for stage, name, number in _counted(run.counts)]
    if run.manifest:
        lines += ["", f"Exported: `{escape(run.manifest)}`"]
    return "\n".join([*lines, "", "More: `SELECT * FROM analytics.labels`, `analytics.quarantine`."])


def escape(text: str) -> str:
    """Text as text: no markup, no table cell or code span of its own."""
    return html.escape(text).replace("|", "&#124;").replace("`", "&#96;").replace("\n", " ")


def _counted(counts: Mapping[str, int]) -> Iterable[tuple[str, str, int]]:
    for key, number in counts.items():
        stage, _, name = key.partition(".")
        yield stage, name.replace("quarantined:", "— "), number


def _first(answers: Iterable[ClipAnswer]) -> list[ClipAnswer]:
    doubtful = sorted(answers, key=lambda clip: clip.answer.margin if clip.answer else -1.0)
    return doubtful[:MAX_ROWS]


def _row(clip: ClipAnswer) -> dict[str, str]:
    if clip.answer is None:
        return {"clip": escape(clip.uri), "status": f"quarantined: {clip.reason}", "label": "", "margin": ""}
    return {
        "clip": escape(clip.uri),
        "status": clip.status,
        "label": escape(clip.answer.label),
        "margin": f"{clip.answer.margin:.3f}",
        "nearest": escape(str(clip.answer.baselines["nearest"])),
    }
