"""The small LLaMA that ships: it learns labels from its prompt, of classes that no training saw."""

import pytest

from core.codec import LLMCodec
from core.codec.clip_encoder import encode_clip_codes
from core.evaluation.episodes import LabeledClips, draw_episodes, shuffle_labels
from core.evaluation.measure import Score, score
from core.evaluation.methods import FewShotMethod
from core.llama.model import FrozenLlama
from core.presets import preset_directory
from core.prompts.few_shot import FewShotSettings
from core.prompts.model_slots import read_model_prompt
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from core.training.data.sounds import sound_class

UNSEEN = 77_000_000
"""Seeds of classes that no training draws."""

EPISODES = 60


@pytest.fixture(scope="module")
def codec() -> LLMCodec:
    return LLMCodec.from_directory(preset_directory("mini-codec"))


@pytest.fixture(scope="module")
def llama() -> FrozenLlama:
    return FrozenLlama.from_directory(preset_directory("mini-llama"))


@pytest.fixture(scope="module")
def clips(codec: LLMCodec) -> LabeledClips:
    """Return four takes of each of twelve classes, with names that no tokenizer knows as words."""
    takes = [(sound_class(UNSEEN + number), take) for number in range(12) for take in range(4)]
    return LabeledClips(
        tuple(encode_clip_codes(codec, (one.render(take) for one, take in takes))),
        tuple(f"Ton „{one.name}“" for one, _ in takes),
        tuple(map(str, range(len(takes)))),
    )


def test_at_least_16_labels_have_a_slot_of_one_id() -> None:
    slots = read_model_prompt(preset_directory("mini-llama")).slots
    tokenizer = TextTokenizer(preset_directory("mini-llama") / "tokenizer.model")
    assert len(slots) >= 16
    assert all(len(tokenizer.encode(slot)) == 1 for slot in slots)


def test_the_presets_are_at_most_30_megabytes() -> None:
    files = preset_directory("mini-llama").parent.rglob("*")
    assert sum(path.stat().st_size for path in files if path.is_file()) <= 30 * 2**20


def asked(
    codec: LLMCodec,
    llama: FrozenLlama,
    clips: LabeledClips,
    n_way: int,
    k_shot: int,
    *,
    shuffled: bool = False,
) -> Score:
    vocabulary = Vocabulary(codec.words, TextTokenizer(llama.directory / "tokenizer.model"))
    method = FewShotMethod(llama, vocabulary, FewShotSettings())
    episodes = draw_episodes(clips, n_way, k_shot, EPISODES, seed=0)
    if shuffled:
        episodes = shuffle_labels(episodes, seed=0)
    return score([method(clips, episode) for episode in episodes], episodes)


@pytest.mark.parametrize(("n_way", "k_shot"), [(2, 1), (2, 3), (5, 1), (10, 1)])
def test_unseen_classes_are_told_apart_better_than_chance_whatever_they_are_called(
    codec: LLMCodec, llama: FrozenLlama, clips: LabeledClips, n_way: int, k_shot: int
) -> None:
    low, _ = asked(codec, llama, clips, n_way, k_shot).episode_interval
    assert low > 1 / n_way


def test_with_shuffled_labels_it_is_at_chance(
    codec: LLMCodec, llama: FrozenLlama, clips: LabeledClips
) -> None:
    low, high = asked(codec, llama, clips, 2, 1, shuffled=True).episode_interval
    assert low < 0.5 < high
