from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import PromptError, PromptTooLong
from core.in_context.labelers import FewShotLabeler, NearestNeighborLabeler
from core.in_context.latents import NearestLatent
from core.in_context.nearest_shots import NearestShotsLabeler
from core.llama.model import FrozenLlama
from core.llama.shared_prefix import SharedPrefix
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotSettings
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from tests.core.made_clips import clip_of

LABELS = ("rain", "dog", "dog bark")


def clip(seed: int) -> ClipCodes:
    generator = np.random.default_rng(seed)
    blocks = int(generator.integers(1, 12))
    layers = (
        generator.integers(0, size, count * blocks).astype(np.int16)
        for size, count in ((80, 2), (420, 4), (420, 8))
    )
    latent = np.abs(generator.standard_normal((2, 3))).astype(np.float16)
    return clip_of(layers, generator.integers(-900, 0, 2 * blocks).astype(np.int16), latent)


LIBRARY = [LabeledClip(clip(seed), LABELS[seed % 3]) for seed in range(12)]
QUERIES = [clip(seed) for seed in range(100, 112)]


def labeler(
    llama: FrozenLlama,
    vocabulary: Vocabulary,
    library: list[LabeledClip] = LIBRARY,
    shots: int = 1,
    **options: Any,
) -> NearestShotsLabeler:
    settings = FewShotSettings(window=4, **options)
    return NearestShotsLabeler(llama, vocabulary, LABELS, library, settings, shots)


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("orders", [1, 3])
def test_each_query_is_asked_as_if_its_nearest_demonstrations_were_all(
    llama: FrozenLlama, vocabulary: Vocabulary, shots: int, orders: int
) -> None:
    together = labeler(llama, vocabulary, shots=shots, orders=orders).label(QUERIES)
    nearest, choices = NearestLatent(sorted(LABELS), LIBRARY), set()
    for query, answer in zip(QUERIES, together, strict=True):
        choice = nearest.nearest(query, shots)
        choices.add(choice)
        shown = [LIBRARY[at] for at in choice]
        settings = FewShotSettings(window=4, orders=orders)
        (alone,) = FewShotLabeler(llama, vocabulary, LABELS, shown, settings).label([query])
        assert answer.label == alone.label
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert len(choices) > 3


def test_equal_choices_are_read_once(
    llama: FrozenLlama, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = labeler(llama, vocabulary)
    nearest = NearestLatent(sorted(LABELS), LIBRARY)
    read: list[list[int]] = []
    prefill = llama.prefill

    def recorded(ids: list[int]) -> SharedPrefix:
        read.append(ids)
        return prefill(ids)

    monkeypatch.setattr(llama, "prefill", recorded)
    asked.label([*QUERIES, *reversed(QUERIES)])
    assert len(read) == len({tuple(ids) for ids in read})
    assert len(read) == len({nearest.nearest(query, 1) for query in QUERIES})


def test_with_as_many_shots_as_there_are_every_query_is_shown_the_whole_library(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    plain = FewShotLabeler(llama, vocabulary, LABELS, LIBRARY, FewShotSettings(window=4)).label(QUERIES)
    for one, other in zip(labeler(llama, vocabulary, shots=4).label(QUERIES), plain, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.baselines == other.baselines


def test_baselines_are_those_of_the_whole_library(llama: FrozenLlama, vocabulary: Vocabulary) -> None:
    expected = [answer.baselines for answer in NearestNeighborLabeler(LABELS, LIBRARY).label(QUERIES)]
    answers = labeler(llama, vocabulary).label(QUERIES)
    assert [answer.baselines for answer in answers] == expected
    assert all("nearest_latent" in one for one in expected)


def test_the_prompt_hash_covers_all_that_may_be_shown_and_what_it_is_chosen_by(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    last = LIBRARY[-1]
    assert last.codes.latent is not None
    moved = replace(last, codes=replace(last.codes, latent=last.codes.latent * np.float16(0.5)))
    variants = [
        labeler(llama, vocabulary),
        labeler(llama, vocabulary, shots=2),
        labeler(llama, vocabulary, repeats=1),
        labeler(llama, vocabulary, orders=2),
        labeler(llama, vocabulary, [*LIBRARY[:-1], moved]),
        labeler(llama, vocabulary, LIBRARY[:-1]),
        labeler(llama, vocabulary, LIBRARY[::-1]),
    ]
    assert len({one.prompt_hash for one in variants}) == len(variants)
    assert labeler(llama, vocabulary).prompt_hash == variants[0].prompt_hash


def test_a_library_longer_than_the_context_is_answered_as_long_as_any_choice_fits(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    long = [LabeledClip(clip(seed), LABELS[seed % 3]) for seed in range(60)]
    with pytest.raises(PromptTooLong):
        FewShotLabeler(llama, vocabulary, LABELS, long, FewShotSettings(window=4))
    assert len(labeler(llama, vocabulary, long).label(QUERIES)) == len(QUERIES)
    with pytest.raises(PromptTooLong):
        labeler(llama, vocabulary, long, shots=15)


def test_what_cannot_be_chosen_from_is_refused_before_any_answer(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    with pytest.raises(PromptError, match="has 4 demonstrations, 5 are needed"):
        labeler(llama, vocabulary, shots=5)
    without = [*LIBRARY, LabeledClip(replace(clip(1), latent=None), "dog")]
    with pytest.raises(PromptError, match="tokenize it again"):
        labeler(llama, vocabulary, without)
