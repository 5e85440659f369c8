"""Scores as text: a table laid out like the paper's, with its figures above ours, then every interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.evaluation.layouts import Column, Layout, TaskName
from core.evaluation.measure import Score
from core.evaluation.paper import PAPER, PaperTask
from core.evaluation.verdict import INTERVALS_EXPLAINED, Confusion, confusion_rows

CELL_WIDTH = 8
PAPER_ROW = "paper, "
TABLE_3 = "Table 3"


@dataclass(frozen=True)
class Table:
    """The scores of an evaluation and their description.

    scores: by row, one for each column, None where no prompt fitted. answering: the rows that count as the
    product's. about: the setup, in sentences. verdicts: the winner of each column. confusion: the answers to
    clips of each label in the first column.
    """

    layout: Layout
    task: TaskName
    columns: tuple[Column, ...]
    scores: Mapping[str, Sequence[Score | None]]
    answering: tuple[str, ...]
    about: tuple[str, ...]
    verdicts: tuple[str, ...] = ()
    confusion: Confusion = field(default_factory=dict)

    @property
    def paper(self) -> PaperTask | None:
        """The paper's task to compare with, if any."""
        return PAPER.get(self.task)

    @property
    def paper_name(self) -> str | None:
        """The paper's table of this layout and task, if any."""
        return self.paper.tables.get(self.layout) if self.paper else None

    @property
    def paper_rows(self) -> dict[str, list[float]]:
        """The paper's rows with a figure for every column, in percent."""
        if self.paper is None:
            return {}
        figure = self.paper.figure
        rows = {name: [figure(name, one) for one in self.columns] for name in self.paper.figures}
        whole = {name: [one for one in row if one is not None] for name, row in rows.items()}
        return {name: row for name, row in whole.items() if len(row) == len(self.columns)}

    def column_name(self, column: Column) -> str:
        """Return the heading of a column, in the paper's style."""
        if self.layout == "prompts":
            return f"{'✓' if column.instruction else '✗'},{column.k_shot},{column.repeats}"
        return f"{column.n_way}-way" if self.layout == "ways" else f"{column.n_way}w{column.k_shot}s"


def table_lines(table: Table) -> Iterator[str]:
    """Yield the verdicts, the table, every interval, and the differences of the data."""
    if table.verdicts:
        yield from (*table.verdicts, "")
    yield f"{_heading(table)}; accuracy in percent"
    yield from _across(table) if table.paper_name == TABLE_3 else _down(table)
    yield ""
    yield "accuracy, its 95 % intervals over episodes and over clips, expected calibration error"
    yield from _every_interval(table)
    yield INTERVALS_EXPLAINED
    yield ""
    yield from _matrix(table)
    yield from differences(table)


def _matrix(table: Table) -> Iterator[str]:
    """Yield the confusion matrix, in columns as wide as their widest text."""
    if not table.confusion:
        return
    yield f"answers of {table.answering[0]}, {table.column_name(table.columns[0])}"
    rows = list(confusion_rows(table.confusion))
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    for row in rows:
        yield "".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
    yield ""


def cell(score: Score | None) -> str:
    """Return a score with its intervals and calibration error as text."""
    if score is None:
        return "prompt too long"
    episodes, clips = (f"[{100 * low:.1f}, {100 * high:.1f}]" for low, high in _intervals(score))
    return f"{100 * score.accuracy:.1f} {episodes} {clips} ECE {score.ece:.3f}"


def table_rows(table: Table) -> list[dict[str, str]]:
    """Return the table with all its intervals as rows, the paper's first."""
    names = list(map(table.column_name, table.columns))
    paper = [
        {"method": PAPER_ROW + name} | {at: f"{one:g}" for at, one in zip(names, row, strict=True)}
        for name, row in table.paper_rows.items()
    ]
    ours = [
        {"method": name} | dict(zip(names, map(cell, row), strict=True)) for name, row in table.scores.items()
    ]
    return paper + ours


def differences(table: Table) -> Iterator[str]:
    """Yield the reasons why the figures do not compare the systems directly."""
    yield from table.about
    if table.paper:
        yield (
            f"The paper uses {table.paper.data}, clips cut to 1 second, with LLaMA 2 7B and its own codec; "
            "it does not state the number of episodes."
        )
        if any(not column.instruction for column in table.columns):
            yield (
                "Its ✗ column is generated freely, without instruction and without a choice of labels; ours "
                "still chooses among the labels."
            )


def _heading(table: Table) -> str:
    first = table.columns[0]
    setting = f"{first.n_way}-way" if table.layout == "prompts" else f"{first.k_shot}-shot"
    shape = {
        "prompts": f"{setting}, columns: instruction, shots, repeats",
        "ways": f"{setting}, columns: labels",
        "single": f"{first.n_way}-way {setting}",
    }[table.layout]
    return f"{table.paper_name} of the paper, {table.task}: {shape}" if table.paper_name else shape


def _down(table: Table) -> Iterator[str]:
    """Yield the table with methods as rows."""
    width = _name_width(table)
    yield f"{'':<{width}}" + "".join(f"{table.column_name(column):>{CELL_WIDTH}}" for column in table.columns)
    for name, figures in table.paper_rows.items():
        yield f"{PAPER_ROW + name:<{width}}" + "".join(f"{one:>{CELL_WIDTH}g}" for one in figures)
    for name, scores in table.scores.items():
        yield f"{name:<{width}}" + "".join(f"{_point(one):>{CELL_WIDTH}}" for one in scores)


def _across(table: Table) -> Iterator[str]:
    """Yield Table 3: one task, with methods as columns."""
    cells = {PAPER_ROW + name: f"{row[0]:g}" for name, row in table.paper_rows.items()}
    cells |= {name: _point(table.scores[name][0]) for name in (*table.answering, "chance")}
    widths = [len(name) + 2 for name in cells]
    yield f"{'':<14}" + "".join(f"{name:>{width}}" for name, width in zip(cells, widths, strict=True))
    points = zip(cells.values(), widths, strict=True)
    yield f"{table.task:<14}" + "".join(f"{point:>{width}}" for point, width in points)


def _every_interval(table: Table) -> Iterator[str]:
    """Yield each distinct score of a row once, with its columns."""
    width = _name_width(table)
    for name, scores in table.scores.items():
        columns: dict[Score | None, list[str]] = {}
        for column, score in zip(table.columns, scores, strict=True):
            columns.setdefault(score, []).append(table.column_name(column))
        for score, names in columns.items():
            yield f"{name:<{width}}{cell(score):<46}  {' '.join(names)}"


def _intervals(score: Score) -> tuple[tuple[float, float], tuple[float, float]]:
    return score.episode_interval, score.clip_interval


def _name_width(table: Table) -> int:
    return max(map(len, (*table.scores, *(PAPER_ROW + name for name in table.paper_rows)))) + 1


def _point(score: Score | None) -> str:
    return f"{100 * score.accuracy:.1f}" if score else "-"
