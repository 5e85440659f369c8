"""The training of audio answers learns, goes on where it was, and writes what FrozenLlama reads."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaConfig

from core.llama.model import FrozenLlama
from core.tokens.vocabulary import Vocabulary
from core.training.audio_llm.clips import AnswerSpec
from core.training.audio_llm.losses import looking_loss
from core.training.audio_llm.trainer import AnswerTrainer, AnswerTraining
from core.training.data.bank import TokenBank, merge_banks
from tests.core.training.audio_llm.test_episodes import bank as small_bank

CONFIG = LlamaConfig(
    vocab_size=420,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=2048,
    initializer_range=0.18,
    tie_word_embeddings=False,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path, vocabulary: Vocabulary) -> Path:
    here = tmp_path_factory.mktemp("audio")
    CONFIG.to_json_file(here / "config.json")
    shutil.copy(tokenizer_path, here / "tokenizer.model")
    (here / "words.txt").write_text("".join(f"{word}\n" for word in vocabulary.words), encoding="utf-8")
    return here


TRAINING = AnswerTraining(
    shape="config.json",
    tokenizer="tokenizer.model",
    codec=".",
    clips=AnswerSpec(0, 0, 0, 0, 0, 0, 0, (0.0, 1.0), (), 0, 1),
    shares={"digit": 1.0},
    later_shares={"sound": 1.0},
    later_from=1000,
    steps=100,
    batch_ids=900,
    learning_rate=0.01,
    noise=0.05,
    looking=0.3,
    precision="float32",
    validation_batches=1,
)


def trainer(folder: Path, training: AnswerTraining = TRAINING) -> AnswerTrainer:
    """Return a trainer with enough classes, voices and pairs of each kind to hold some out."""
    bank = small_bank()
    copies = [bank, *(_renamed(bank, number) for number in range(1, 8))]
    words = tuple(f"voice {at // 3}\t{at % 3}" for at in range(36))
    spoken = TokenBank(tuple(bank.clips[at % 6] for at in range(36)), ("word",) * 36, words)
    return AnswerTrainer(training, folder, merge_banks([*copies, spoken]))


def _renamed(bank: TokenBank, number: int) -> TokenBank:
    others = bank.only([at for at, kind in enumerate(bank.kinds) if kind != "digit"])
    return TokenBank(others.clips, others.kinds, tuple(f"{name} of {number}" for name in others.names))


def test_the_loss_falls(folder: Path) -> None:
    learning = trainer(folder)
    losses = [learning.train_step()["answer"] for _ in range(100)]
    assert sum(losses[-5:]) < sum(losses[:5]) - 1.0


def test_a_training_that_was_stopped_goes_on_bit_by_bit(folder: Path, tmp_path: Path) -> None:
    through, stopped = trainer(folder), trainer(folder)
    for _ in range(2):
        through.train_step()
        stopped.train_step()
    stopped.save(tmp_path / "checkpoint.pt")
    resumed = trainer(folder)
    resumed.resume(tmp_path / "checkpoint.pt")
    assert resumed.train_step() == through.train_step()
    for name, tensor in through.network.state_dict().items():
        assert tensor.equal(resumed.network.state_dict()[name]), name


def test_what_is_written_answers_as_the_network_does(folder: Path, tmp_path: Path) -> None:
    learning = trainer(folder)
    path = learning.write(tmp_path / "llama", folder)
    llama = FrozenLlama.from_directory(path)
    ids = list(range(3, 40))
    with torch.no_grad():
        expected = int(learning.network(torch.tensor([ids])).logits[0, -1].argmax())
    assert llama.tokenizer is not None
    loaded = llama._model(torch.tensor([ids])).logits[0, -1]
    assert int(loaded.argmax()) == expected


def test_validation_prompts_hold_nothing_that_is_trained(folder: Path) -> None:
    learning = trainer(folder)
    assert set(learning.validate()) == {"word", "sound", "noisy"}


@pytest.mark.parametrize(("at", "low"), [(2, True), (5, False)])
def test_looking_at_the_wanted_column_costs_least(at: int, low: bool) -> None:
    """Row 6 looks hard at column 2."""
    keys = torch.eye(8)[None, None].expand(1, 2, 8, 8)
    queries = torch.zeros(1, 2, 8, 8)
    queries[..., 6, 2] = 40.0
    wanted = torch.zeros(1, 8, 8, dtype=torch.bool)
    wanted[0, 6, at] = True
    assert (float(looking_loss(queries, keys, wanted)) < 0.01) is low


def test_a_configuration_names_no_unknown_field(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"clips": {}, "stride": 3}')
    with pytest.raises(TypeError):
        AnswerTraining.from_json(tmp_path / "c.json")


def test_steps_draw_by_seed_and_number_alone(folder: Path) -> None:
    other = trainer(folder, replace(TRAINING, seed=7))
    assert trainer(folder).train_step() != other.train_step()


def test_later_prompts_are_drawn_by_later_shares(folder: Path) -> None:
    early, late = trainer(folder), trainer(folder, replace(TRAINING, later_from=1))
    assert early.train_step() == late.train_step()
    assert early.train_step() != late.train_step()
