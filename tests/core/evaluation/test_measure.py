from collections.abc import Sequence

import numpy as np
import pytest

from core.evaluation.episodes import Episode
from core.evaluation.measure import score
from core.evaluation.methods import Reply, most_probable


def replies(*rows: Sequence[float]) -> list[Reply]:
    return [most_probable(np.array(row)) for row in rows]


def episodes(answers: str, queries: list[int]) -> list[Episode]:
    return [
        Episode((100, 101), ("a", "b"), query, answer) for answer, query in zip(answers, queries, strict=True)
    ]


def test_accuracy_is_the_share_of_right_answers() -> None:
    result = score(replies([0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]), episodes("abba", [0, 1, 2, 3]))
    assert result.accuracy == 0.5
    assert (result.episodes, result.clips) == (4, 4)


def test_saying_nothing_scores_chance() -> None:
    assert score(replies(*[[0.5, 0.5]] * 3), episodes("aab", [0, 1, 2])).accuracy == 0.5


def test_few_clips_asked_often_leave_the_clip_interval_wide() -> None:
    generator = np.random.default_rng(0)
    queries = generator.integers(0, 10, 600).tolist()
    known = [query < 6 for query in queries]
    said = replies(*([0.9, 0.1] if right else [0.1, 0.9] for right in known))
    result = score(said, episodes("a" * 600, queries))
    low, high = result.episode_interval
    lowest, highest = result.clip_interval
    assert lowest < low < result.accuracy < high < highest
    assert high - low == pytest.approx(2 * 1.96 * (0.6 * 0.4 / 600) ** 0.5, rel=0.2)


def test_calibration_error_is_small_for_honest_probabilities() -> None:
    answers = "a" * 75 + "b" * 25
    asked = episodes(answers, list(range(100)))
    assert score(replies(*[[0.75, 0.25]] * 100), asked).ece == pytest.approx(0)
    assert score(replies(*[[0.99, 0.01]] * 100), asked).ece > 0.2


def test_what_greedy_decoding_says_counts_and_not_what_is_most_probable() -> None:
    said = [Reply(np.array([0.4, 0.6]), np.array([1.0, 0.0]))] * 3
    result = score(said, episodes("aab", [0, 1, 2]))
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.ece == pytest.approx(2 / 3 - 0.4)
