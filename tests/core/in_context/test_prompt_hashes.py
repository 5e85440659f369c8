"""The names of prompts stand in the work keys of stored answers: they are known without a model, and stay."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaConfig

from core.codec.files.directory import directory_words
from core.in_context.labelers import FewShotLabeler, NearestNeighborLabeler
from core.in_context.nearest_shots import NearestShotsLabeler
from core.in_context.prompt_hashes import nearest_neighbor_hash, nearest_shots_hash
from core.llama.files import read_size, read_tokenizer
from core.llama.model import FrozenLlama
from core.presets import preset_directory
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotPrompt, FewShotSettings
from core.prompts.model_slots import read_model_prompt
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary

LABELS, SETTINGS = ("cat", "dog"), FewShotSettings()
NEAREST_NEIGHBOR = "c8047f601ef1e33f2a9d91facc8166ed7a747840e1cae6b90bc05b0cbc407601"
FEW_SHOT = "cbc2e4034f0b409ff89e0dc72b5e5589f30e2f53c5694f7e61737e9715ea19fc"
NEAREST_SHOTS = "3749e95f073b9e2aed2ca9980928b66d02d37544d1f550b799859435c2b82ab1"


def clip(seed: int) -> ClipCodes:
    rng = np.random.default_rng(seed)
    semantic, first, second = (rng.integers(0, 100, size).astype(np.int16) for size in (40, 80, 160))
    levels = rng.integers(-600, 0, 40).astype(np.int16)
    latent = np.abs(rng.standard_normal((2, 8))).astype(np.float16)
    return ClipCodes((semantic, first, second), levels, latent)


LIBRARY = [LabeledClip(clip(number), LABELS[number % 2]) for number in range(4)]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    directory = preset_directory("mini-llama")
    tokenizer = read_tokenizer(directory, read_size(directory).vocab_size)
    assert tokenizer
    return Vocabulary(directory_words(preset_directory("mini-codec")), tokenizer)


@pytest.fixture(scope="module")
def prompt(vocabulary: Vocabulary) -> FewShotPrompt:
    model = read_model_prompt(preset_directory("mini-llama"))
    return FewShotPrompt(vocabulary, LABELS, LIBRARY, SETTINGS, model)


def test_the_names_are_those_of_the_answers_that_are_stored(prompt: FewShotPrompt) -> None:
    assert nearest_neighbor_hash(LIBRARY) == NEAREST_NEIGHBOR
    assert prompt.prompt_hash == FEW_SHOT
    assert nearest_shots_hash(prompt, LIBRARY, 1) == NEAREST_SHOTS


def test_labelers_with_their_models_have_the_same_names(vocabulary: Vocabulary) -> None:
    llama = FrozenLlama.from_directory(preset_directory("mini-llama"))
    asked = (llama, vocabulary, LABELS, LIBRARY, SETTINGS)
    assert NearestNeighborLabeler(LABELS, LIBRARY).prompt_hash == NEAREST_NEIGHBOR
    assert FewShotLabeler(*asked).prompt_hash == FEW_SHOT
    assert NearestShotsLabeler(*asked, 1).prompt_hash == NEAREST_SHOTS
    size = read_size(llama.directory)
    assert (size.context_length, size.vocab_size) == (llama.context_length, llama.vocab_size)


def test_the_size_of_a_model_that_states_none_is_that_of_the_format(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    size, default = read_size(tmp_path), LlamaConfig()
    assert (size.vocab_size, size.context_length) == (default.vocab_size, default.max_position_embeddings)


@pytest.mark.parametrize(
    "module", ["core.codec.files.directory", "core.llama.files", "core.in_context.prompt_hashes"]
)
def test_what_names_a_prompt_loads_no_model_library(module: str) -> None:
    code = f"import sys, {module}; print(*({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
