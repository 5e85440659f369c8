import numpy as np
import pytest

from core.codec import LLMCodec
from core.evaluation.episodes import LabeledClips, draw_episodes
from core.evaluation.measure import score
from core.evaluation.methods import LanguageModel, answer_all
from core.few_shot import FewShotSettings
from core.llama import FrozenLlama
from core.presets import preset_directory
from core.slots import read_slots
from core.training.bank import encode_clips
from core.training.sounds import sound_class
from core.vocabulary import TextTokenizer, Vocabulary

pytestmark = pytest.mark.skipif(
    not (preset_directory("mini-llama") / "model.safetensors").is_file(),
    reason="mini-llama has no trained weights yet: python -m core.training.llama_trainer makes them",
)

UNSEEN = 77_000_000
"""Seeds of classes that no training draws."""


@pytest.fixture(scope="module")
def codec() -> LLMCodec:
    return LLMCodec.from_directory(preset_directory("mini-codec"))


@pytest.fixture(scope="module")
def llama() -> FrozenLlama:
    return FrozenLlama.from_directory(preset_directory("mini-llama"))


def test_the_preset_says_at_least_16_slots_of_one_id(llama: FrozenLlama) -> None:
    slots = read_slots(llama.directory)
    tokenizer = TextTokenizer(llama.directory / "tokenizer.model")
    assert len(slots) >= 16
    assert all(len(tokenizer.encode(slot)) == 1 for slot in slots)


def test_the_preset_is_at_most_8_megabytes() -> None:
    files = preset_directory("mini-llama").glob("*")
    assert sum(path.stat().st_size for path in files) <= 8 * 2**20


def test_the_preset_labels_unseen_classes_better_than_chance_whatever_they_are_called(
    codec: LLMCodec, llama: FrozenLlama
) -> None:
    classes = [sound_class(UNSEEN + number) for number in range(12)]
    takes = [(one, take) for one in classes for take in range(4)]
    clips = LabeledClips(
        tuple(encode_clips(codec, (one.render(take) for one, take in takes))),
        tuple(f"Ton „{one.name}“" for one, _ in takes),
        tuple(map(str, range(len(takes)))),
    )
    vocabulary = Vocabulary(codec.words, TextTokenizer(llama.directory / "tokenizer.model"))
    episodes = draw_episodes(clips, 2, 2, 60, seed=0)
    answers = answer_all(LanguageModel(llama, vocabulary, FewShotSettings()), clips, episodes)
    assert np.isfinite(answers).all()
    low, _ = score(answers, episodes).episode_interval
    assert low > 0.5
