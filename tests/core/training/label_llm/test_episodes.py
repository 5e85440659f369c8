import random

import numpy as np
import pytest

from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotPrompt, FewShotSettings
from core.prompts.template import PromptTemplate
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.training.data.bank import TokenBank, merge_banks
from core.training.label_llm.episodes import Episodes, EpisodeShape
from tests.core.made_clips import clip_of


def clip(seed: int) -> ClipCodes:
    generator = np.random.default_rng(seed)
    layers = (generator.integers(0, 80, count * 8).astype(np.int16) for count in (2, 4, 8))
    return clip_of(layers, generator.integers(-900, 0, 16).astype(np.int16))


BANK = TokenBank(
    clips=tuple(clip(seed) for seed in range(60)),
    kinds=("sound",) * 48 + ("speech",) * 12,
    names=tuple(f"class {seed // 6}" for seed in range(60)),
)


def slots(vocabulary: Vocabulary) -> list[str]:
    return [word for word in vocabulary.words if len(vocabulary.tokenizer.encode(word)) == 1][:8]


def episodes(vocabulary: Vocabulary, **shares: float) -> Episodes:
    template = PromptTemplate(vocabulary)
    return Episodes(BANK, template, slots(vocabulary), shares or {"sound": 1.0}, smallest_class=6)


@pytest.mark.parametrize("seed", range(12))
def test_an_episode_is_the_prompt_that_labeling_writes(vocabulary: Vocabulary, seed: int) -> None:
    """16 codes are the whole clip, so every window is the loudest and the one that is asked."""
    shape = EpisodeShape(n_way=3, clips_per_class=3, window=16)
    batch = episodes(vocabulary).batch(random.Random(seed), shape, 1)
    by_id = {vocabulary.tokenizer.encode(slot)[0]: slot for slot in slots(vocabulary)}
    said = [by_id[int(token_id)] for token_id in batch.slots[0]]
    clips = [BANK.clips[number] for number in batch.clips[0]]
    shots = [LabeledClip(codes, label) for codes, label in zip(clips, said, strict=True)]
    if len(set(said[:-1])) < 3:
        pytest.skip("the last clip is the only one of its class")
    ids = batch.token_ids[0].tolist()
    instruction = ids[1] != PromptTemplate(vocabulary).following_id
    prompt = FewShotPrompt(
        vocabulary, sorted(set(said)), shots[:-1], FewShotSettings(instruction=instruction)
    )
    expected = [*prompt.prefix_ids, *prompt.query_ids(clips[-1])[0]]
    asked = int(batch.outs[0, -1]) + 1
    if len(ids) == asked + 1 and _windows_are_whole(ids, expected):
        assert ids[:asked] == expected


def _windows_are_whole(ids: list[int], expected: list[int]) -> bool:
    """Prevent shorter windows, a fifth of all."""
    return len(ids) == len(expected) + 1


def test_labels_stand_behind_where_they_are_asked(vocabulary: Vocabulary) -> None:
    batch = episodes(vocabulary).batch(random.Random(0), EpisodeShape(4, 2, 8), 5)
    assert batch.slots.equal(batch.token_ids.gather(1, batch.outs + 1))
    known = {vocabulary.tokenizer.encode(slot)[0] for slot in slots(vocabulary)}
    assert set(batch.slots.flatten().tolist()) <= known


def test_a_class_keeps_its_slot_and_counts_as_shown_from_its_second_clip_on(vocabulary: Vocabulary) -> None:
    batch = episodes(vocabulary).batch(random.Random(1), EpisodeShape(3, 4, 6), 4)
    for classes, said, shown in zip(
        batch.classes.tolist(), batch.slots.tolist(), batch.shown.tolist(), strict=True
    ):
        assert len(set(zip(classes, said, strict=True))) == 3
        assert shown == [number in classes[:at] for at, number in enumerate(classes)]


def test_test_episodes_show_each_class_alike_and_ask_one_clip(vocabulary: Vocabulary) -> None:
    batch = episodes(vocabulary).tests(random.Random(2), 3, 2, 8, 10)
    for classes, clips in zip(batch.classes.tolist(), batch.clips.tolist(), strict=True):
        assert len(classes) == 7
        assert {classes[:-1].count(number) for number in set(classes)} == {2}
        assert classes[-1] in classes[:-1]
        assert len(set(clips)) == 7


def test_only_kinds_with_a_share_and_enough_classes_are_drawn(vocabulary: Vocabulary) -> None:
    drawn = episodes(vocabulary, sound=0.5, speech=0.5)
    batch = drawn.batch(random.Random(3), EpisodeShape(5, 2, 4), 20)
    assert batch.clips.max() < 48


def test_the_same_seed_draws_the_same_episode(vocabulary: Vocabulary) -> None:
    shape = EpisodeShape(3, 3, 8)
    one, other = (episodes(vocabulary).batch(random.Random(4), shape, 2, noise=0.3) for _ in range(2))
    assert one.token_ids.equal(other.token_ids)


def test_scattered_clips_of_a_class_lie_in_different_prompts(vocabulary: Vocabulary) -> None:
    shape = EpisodeShape(n_way=2, clips_per_class=3, window=8)
    batch = episodes(vocabulary).scattered(random.Random(5), shape, 9)
    assert batch.classes.shape == (9, 2)
    assert all(one != other for one, other in batch.classes.tolist())
    assert sorted(batch.classes.flatten().bincount().tolist())[-6:] == [3] * 6
    assert len(set(batch.clips.flatten().tolist())) == 18


def test_where_a_scattered_clip_stands_does_not_tell_its_class(vocabulary: Vocabulary) -> None:
    shape = EpisodeShape(n_way=4, clips_per_class=3, window=8)
    batch = episodes(vocabulary).scattered(random.Random(6), shape, 6)
    places = [(batch.classes == number).nonzero()[:, 1] for number in batch.classes.unique()]
    apart = sum(int(standing.max() - standing.min()) for standing in places) / len(places)
    assert apart > 1  # three of four places drawn freely lie 1.9 apart


def test_banks_merge_clip_by_clip() -> None:
    merged = merge_banks([BANK, BANK])
    assert len(merged.clips) == len(merged.kinds) == len(merged.names) == 120
