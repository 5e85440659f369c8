"""Windows are scored by demonstrations, or by the names of a tagger's classes."""

import numpy as np

from core.events.bound import fit_bound
from core.events.labelers import FewShotWindows, ShownWindows, ZeroShotWindows
from core.events.windows import ClipWindows, WindowGrid
from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler, unit_rows

GRID = WindowGrid(window=0.96, hop=0.48, code=0.12)
LABELS = ("bell", "dog", "rain")


def clip_of(*kinds: int, seed: int = 0, silent: tuple[int, ...] = ()) -> ClipWindows:
    """Make a clip with a window of each kind: a direction of eight dimensions, with noise."""
    rng = np.random.default_rng(seed)
    vectors = np.eye(8)[list(kinds)] + 0.05 * rng.standard_normal((len(kinds), 8))
    levels = np.full(4 * len(kinds) + 4, -200, np.int16)
    for window in silent:
        levels[4 * window + 2 : 4 * window + 6] = -1200
        levels[: 6 if window == 0 else 0] = -1200
    return ClipWindows(0.48 * (len(kinds) + 1), levels, vectors=vectors)


def shown(shots: int, **changes: tuple[int, ...]) -> list[ShownWindows]:
    return [
        ShownWindows(clip_of(label, label, seed=10 * label + shot, **changes), LABELS[label])
        for label in range(3)
        for shot in range(shots)
    ]


def test_few_shot_labelers_know_their_windows_and_score_what_is_like_nothing_low() -> None:
    for kind, shots in ((ClassMeanLabeler, 1), (ClassMeanLabeler, 3), (LogisticLabeler, 3)):
        labeler = FewShotWindows(kind, LABELS, shown(shots), GRID)
        scores = labeler.scores(clip_of(0, 1, 2, 7, seed=99))
        assert scores[:3].argmax(axis=1).tolist() == [0, 1, 2]
        assert scores[:3].max(axis=1).min() > 2 * scores[3].max()
        assert (scores >= 0).all()
        assert (scores.sum(axis=1) <= 1 + 1e-9).all()


def test_a_silent_window_has_no_score_and_a_silent_demonstration_window_is_not_shown() -> None:
    labeler = FewShotWindows(ClassMeanLabeler, LABELS, shown(2), GRID)
    assert not labeler.scores(clip_of(0, 1, 2, silent=(1,)))[1].any()
    others = [ShownWindows(clip_of(label, label), LABELS[label]) for label in (1, 2)]
    aloud, silent = (
        FewShotWindows(
            ClassMeanLabeler, LABELS, [ShownWindows(clip_of(7, 0, silent=windows), "bell"), *others], GRID
        )
        .scores(clip_of(7, 0, 1))[0]
        .max()
        for windows in ((), (0,))
    )
    assert silent < aloud / 2


def test_a_clip_has_the_same_scores_alone_and_after_others() -> None:
    labeler = FewShotWindows(ClassMeanLabeler, LABELS, shown(3), GRID)
    alone = labeler.scores(clip_of(0, 1, seed=5))
    labeler.scores(clip_of(2, 2, 2, seed=6))
    assert np.array_equal(labeler.scores(clip_of(0, 1, seed=5)), alone)


def test_zero_shot_finds_labels_by_name_and_leaves_out_what_no_label_is_like() -> None:
    classes = ("Bell, church bell", "Dog", "Rain", "Speech")
    scores = np.array([[0.9, 0, 0, 0], [0, 0.8, 0, 0], [0, 0, 0, 0.9], [0, 0, 0.01, 0]])
    levels = np.full(20, -200, np.int16)
    clip = ClipWindows(2.4, levels, scores=scores)
    found = ZeroShotWindows(LABELS, classes, GRID).scores(clip)
    assert found[:2].argmax(axis=1).tolist() == [0, 1]
    assert found[:2].max(axis=1).min() > 0.9
    assert found[2:].max() < 0.5


def test_the_bound_is_of_left_out_demonstrations_and_of_other_labels_where_there_are_none() -> None:
    rows = [(unit_rows(one.clip.vectors), one.label) for one in shown(3) if one.clip.vectors is not None]
    three, one = fit_bound(rows), fit_bound(rows[::3])
    assert 0 < three.distance < 0.1 < one.distance < 1
