from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.episodes import LabeledClips, draw_episodes, shuffle_labels
from core.tokens.clip_codes import ClipCodes
from tests.core.made_clips import clip_of


def clip(seed: int) -> ClipCodes:
    generator = np.random.default_rng(seed)
    layers = (generator.integers(0, 50, count * 4).astype(np.int16) for count in (2, 4, 8))
    return clip_of(layers)


LABELS = tuple("aaaaaabbbbbbccccccdddd")
GROUPS = tuple("112233112233112233xxxx")
"""All clips of d are of one group: they can be shown but not asked."""
CLIPS = LabeledClips(tuple(clip(seed) for seed in range(len(LABELS))), LABELS, GROUPS)


@given(n_way=st.integers(2, 4), k_shot=st.integers(1, 4), seed=st.integers(0, 1000))
def test_an_episode_has_its_classes_its_shots_and_no_demonstration_of_the_querys_group(
    n_way: int, k_shot: int, seed: int
) -> None:
    for one in draw_episodes(CLIPS, n_way, k_shot, 5, seed=seed):
        assert len(one.label_set) == n_way
        assert one.answer in one.label_set
        assert all(one.labels.count(label) == k_shot for label in one.label_set)
        assert len(set(one.demonstrations)) == n_way * k_shot
        assert one.labels == tuple(LABELS[number] for number in one.demonstrations)
        assert LABELS[one.query] == one.answer != "d"
        assert GROUPS[one.query] not in {GROUPS[number] for number in one.demonstrations}


def test_clips_that_are_a_group_each_are_shown_but_to_themselves() -> None:
    alone = replace(CLIPS, groups=tuple(map(str, range(len(LABELS)))))
    episodes = draw_episodes(alone, 2, 3, 200, seed=1)
    assert {one.answer for one in episodes} == set("abcd")
    assert all(one.query not in one.demonstrations for one in episodes)


def test_a_clip_whose_group_leaves_too_few_labels_is_not_asked() -> None:
    # beside group 1 there is only label a; whoever asks a clip of group 1 has nothing to tell it from
    clips = LabeledClips(CLIPS.codes[:6], tuple("aaabbb"), tuple("123111"))
    queries = {one.query for one in draw_episodes(clips, 2, 1, 50, seed=0)}
    assert queries == {1, 2}


def test_the_same_seed_draws_the_same_episodes() -> None:
    assert draw_episodes(CLIPS, 3, 2, 20, seed=5) == draw_episodes(CLIPS, 3, 2, 20, seed=5)
    assert draw_episodes(CLIPS, 3, 2, 20, seed=5) != draw_episodes(CLIPS, 3, 2, 20, seed=6)


@pytest.mark.parametrize(("n_way", "k_shot"), [(5, 1), (2, 5)])
def test_too_few_clips_or_classes_are_said(n_way: int, k_shot: int) -> None:
    with pytest.raises(ValueError, match="are needed"):
        draw_episodes(CLIPS, n_way, k_shot, 1, seed=0)


def test_shuffling_keeps_clips_and_counts_of_labels() -> None:
    episodes = draw_episodes(CLIPS, 3, 2, 50, seed=0)
    shuffled = shuffle_labels(episodes, seed=0)
    assert [one.demonstrations for one in shuffled] == [one.demonstrations for one in episodes]
    assert [sorted(one.labels) for one in shuffled] == [sorted(one.labels) for one in episodes]
    assert any(one.labels != other.labels for one, other in zip(shuffled, episodes, strict=True))


def test_every_clip_needs_a_label_and_a_group() -> None:
    with pytest.raises(ValueError, match="2 clips have 1 labels"):
        LabeledClips((clip(0), clip(1)), ("a",), ("1", "2"))
