"""The paper's results, for comparison with ours: its Tables 2, 3, 8 and 9, accuracy in percent.

All use LLaMA 2 7B (13B where a row says so) and the paper's codec on clips of one second. The number of
episodes is not stated. The columns without an instruction are free generation (paper, section 3.3), so only
those with an instruction compare with answers chosen among the labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.evaluation.layouts import MAX_WAYS, PROMPT_COLUMNS, Column, Layout, TaskName, columns

ANY_N_WAY = 0
"""Stands for a number of labels that the paper does not state."""


@dataclass(frozen=True)
class PaperTask:
    """A task of the paper: its data, tables and results."""

    data: str
    tables: Mapping[Layout, str]
    figures: Mapping[str, Mapping[Column, float]]

    def figure(self, row: str, column: Column) -> float | None:
        """Return a row's figure for a column, or None if the paper has no such column."""
        row_figures = self.figures[row]
        return row_figures.get(column, row_figures.get(replace(column, n_way=ANY_N_WAY)))


def _prompts(n_way: int, *figures: float) -> dict[Column, float]:
    """Return a row of Table 2 or 8; a single figure (random guess) applies to every column."""
    figures = figures * len(PROMPT_COLUMNS) if len(figures) == 1 else figures
    prompt_columns = columns("prompts", Column(n_way, 1), n_way)
    return dict(zip(prompt_columns, figures, strict=True))


def _ways(*figures: float) -> dict[Column, float]:
    return dict(zip(columns("ways", Column(2, 1), MAX_WAYS), figures, strict=True))


def _table3(data: str, imagebind: float, whisper: float, asr_chatgpt: float, paper: float) -> PaperTask:
    names = ("ImageBind-LLM", "Whisper-LLM", "ASR-ChatGPT", "UniAudio 1.5")
    figures = (imagebind, whisper, asr_chatgpt, paper)
    rows = {name: {Column(ANY_N_WAY, 1): figure} for name, figure in zip(names, figures, strict=True)}
    return PaperTask(f"{data} of Dynamic-SUPERB, N-way 1-shot", {"single": "Table 3"}, rows)


PAPER: Mapping[TaskName, PaperTask] = {
    "emotion": PaperTask(
        "ESD (acted English speech, 5 feelings)",
        {"prompts": "Table 2"},
        {
            "random": _prompts(2, 44),
            "BLSP": _prompts(2, 9, 29, 50, 33, 19),
            "semantic": _prompts(2, 25, 53, 59, 53, 54),
            "semantic+acoustic": _prompts(2, 45, 49, 53, 55, 54),
        },
    ),
    "sound-events": PaperTask(
        "ESC-50 (5 s recordings of 50 sounds)",
        {"prompts": "Table 2", "ways": "Table 9"},
        {
            "random": _prompts(2, 45) | _prompts(3, 30),
            "BLSP": _ways(47, 26, 15, 12, 10)
            | _prompts(2, 44, 47, 54, 15, 17)
            | _prompts(3, 23, 26, 36, 24, 16),
            "semantic": _ways(60, 41, 36, 33, 17)
            | _prompts(2, 48, 60, 57, 57, 73)
            | _prompts(3, 38, 41, 39, 43, 42),
            "semantic+acoustic": _prompts(2, 41, 48, 55, 54, 62) | _prompts(3, 25, 37, 35, 44, 50),
            "semantic, 13B": _ways(62, 42, 41, 43, 31),
        },
    ),
    "speech-commands": PaperTask(
        "Speech Commands (down, go, left, right; 20 utterances of each)",
        {"prompts": "Table 8"},
        {
            "random": _prompts(2, 44),
            "BLSP": _prompts(2, 29, 65, 84, 69, 59),
            "semantic": _prompts(2, 50, 53, 59, 54, 56),
            "semantic+acoustic": _prompts(2, 25, 53, 58, 49, 52),
        },
    ),
    "accents": _table3("Accent classification", 19, 4, 7, 24),
    "bird-sounds": _table3("Bird sound detection", 28, 14, 15, 50),
    "chords": _table3("Chord classification", 44, 58, 3, 55),
    "languages": _table3("Language identification", 26, 13, 96, 25),
}
