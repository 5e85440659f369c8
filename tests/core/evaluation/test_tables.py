from core.evaluation.layouts import Column, columns
from core.evaluation.measure import Score
from core.evaluation.tables import Table, table_lines, table_rows


def score(accuracy: float) -> Score:
    return Score(
        accuracy, (accuracy - 0.04, accuracy + 0.04), (accuracy - 0.1, accuracy + 0.1), 0.05, 600, 73
    )


PROMPTS = Table(
    "prompts",
    "sound-events",
    columns("prompts", Column(2, 1), 10),
    {"llama, semantic": [score(0.611), *map(score, (0.62, 0.63, 0.64)), None], "chance": [score(0.5)] * 5},
    ("llama, semantic",),
    ("Here: 600 episodes.",),
)


def test_tables_2_and_8_stand_above_ours_column_by_column() -> None:
    heading, names, *rows = list(table_lines(PROMPTS))
    assert heading.startswith("Table 2 of the paper, sound-events: 2-way")
    assert names.split() == ["✗,1,0", "✓,1,0", "✓,3,0", "✓,1,2", "✓,1,3"]
    cells = {row.rsplit(maxsplit=5)[0].strip(): row.split()[-5:] for row in rows[: rows.index("")]}
    assert list(cells) == [
        "paper, random",
        "paper, BLSP",
        "paper, semantic",
        "paper, semantic+acoustic",
        "llama, semantic",
        "chance",
    ]
    assert cells["paper, semantic"] == ["48", "60", "57", "57", "73"]
    assert cells["llama, semantic"] == ["61.1", "62.0", "63.0", "64.0", "-"]


def test_both_intervals_and_the_differences_are_said() -> None:
    text = "\n".join(table_lines(PROMPTS))
    assert "61.1 [57.1, 65.1] [51.1, 71.1] ECE 0.050" in text
    assert "prompt too long" in text
    assert "Here: 600 episodes." in text
    assert "ESC-50" in text
    assert "generated freely" in text


def test_equal_scores_of_a_row_are_told_once_with_their_columns() -> None:
    lines = list(table_lines(PROMPTS))
    (chance,) = (line for line in lines if line.startswith("chance") and "ECE" in line)
    assert chance.endswith("✗,1,0 ✓,1,0 ✓,3,0 ✓,1,2 ✓,1,3")
    assert sum(line.startswith("llama, semantic") and "[" in line for line in lines) == 4


def test_table_9_has_its_ways_across() -> None:
    ways = columns("ways", Column(2, 1), 10)
    table = Table("ways", "sound-events", ways, {"chance": [score(0.4)] * 5}, ("chance",), ())
    lines = list(table_lines(table))
    assert lines[0].startswith("Table 9 of the paper")
    assert lines[1].split() == ["2-way", "3-way", "4-way", "5-way", "6-way"]
    assert ["paper,", "semantic,", "13B", "62", "42", "41", "43", "31"] in [line.split() for line in lines]
    assert "generated freely" not in "\n".join(lines)


def test_table_3_has_its_systems_across() -> None:
    scores = {"llama, semantic": [score(0.6)], "nearest tokens": [score(0.7)], "chance": [score(0.5)]}
    table = Table("single", "bird-sounds", (Column(2, 1),), scores, ("llama, semantic",), ())
    heading, systems, figures, *_ = table_lines(table)
    assert heading.startswith("Table 3 of the paper, bird-sounds: 2-way 1-shot")
    for system in (
        "ImageBind-LLM",
        "Whisper-LLM",
        "ASR-ChatGPT",
        "UniAudio 1.5",
        "llama, semantic",
        "chance",
    ):
        assert system in systems
    assert figures.split() == ["bird-sounds", "28", "14", "15", "50", "60.0", "50.0"]


def test_a_table_without_the_paper_says_what_was_asked() -> None:
    table = Table("single", "none", (Column(4, 2),), {"chance": [score(0.25)]}, ("chance",), ())
    assert next(table_lines(table)).startswith("4-way 2-shot")
    assert table_rows(table) == [{"method": "chance", "4w2s": "25.0 [21.0, 29.0] [15.0, 35.0] ECE 0.050"}]
