from core.evaluation.layouts import Column, columns
from core.evaluation.paper import PAPER


def test_the_layouts_have_the_columns_of_the_papers_tables() -> None:
    asked = Column(3, 2, instruction=False, repeats=1)
    assert columns("single", asked, 10) == (asked,)
    shapes = [(one.instruction, one.k_shot, one.repeats) for one in columns("prompts", asked, 10)]
    assert shapes == [(False, 1, 0), (True, 1, 0), (True, 3, 0), (True, 1, 2), (True, 1, 3)]
    assert {one.n_way for one in columns("prompts", asked, 10)} == {3}
    assert [one.n_way for one in columns("ways", asked, 10)] == [2, 3, 4, 5, 6]
    assert [one.n_way for one in columns("ways", asked, 4)] == [2, 3, 4]


def test_figures_stand_beside_equal_columns_and_no_others() -> None:
    sounds = PAPER["sound-events"]
    assert [sounds.figure("semantic", one) for one in columns("prompts", Column(2, 1), 9)] == [
        48,
        60,
        57,
        57,
        73,
    ]
    assert [sounds.figure("semantic", one) for one in columns("ways", Column(2, 1), 9)] == [
        60,
        41,
        36,
        33,
        17,
    ]
    assert sounds.figure("semantic", Column(4, 3)) is None
    assert sounds.figure("semantic+acoustic", Column(3, 1, True, 3)) == 50
    assert PAPER["speech-commands"].figure("BLSP", Column(2, 3)) == 84


def test_tables_of_unstated_ways_stand_beside_any() -> None:
    assert PAPER["accents"].figure("UniAudio 1.5", Column(9, 1)) == 24
    assert PAPER["bird-sounds"].figure("UniAudio 1.5", Column(2, 1)) == 50
    assert PAPER["bird-sounds"].figure("UniAudio 1.5", Column(2, 3)) is None
