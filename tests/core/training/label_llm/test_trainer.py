import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaConfig

from core.in_context.labelers import FewShotLabeler
from core.llama.model import FrozenLlama
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotSettings
from core.prompts.model_slots import ModelPrompt, read_model_prompt
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.training.data.bank import TokenBank
from core.training.data.clips import BankSpec
from core.training.label_llm.episodes import EpisodeShape
from core.training.label_llm.losses import Aids, attention_loss, label_losses
from core.training.label_llm.network import apply_layer, logits_at, new_network
from core.training.label_llm.trainer import LabelTrainer, LlamaTraining
from tests.core.made_clips import clip_of

CONFIG = LlamaConfig(
    vocab_size=420,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=512,
    initializer_range=0.18,
    tie_word_embeddings=True,
)


def clip(label: int, seed: int) -> ClipCodes:
    generator = np.random.default_rng([label, seed])
    layers = (generator.integers(5 * label, 5 * label + 5, n * 4).astype(np.int16) for n in (2, 4, 8))
    return clip_of(layers)


BANK = TokenBank(
    tuple(clip(label, seed) for label in range(14) for seed in range(6)),
    ("sound",) * 84,
    tuple(f"class {label}" for label in range(14) for _ in range(6)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path, vocabulary: Vocabulary) -> Path:
    """Write the files of a configuration: shape, embeddings, tokenizer, words."""
    here = tmp_path_factory.mktemp("mini")
    CONFIG.to_json_file(here / "config.json")
    table = torch.randn(420, 32, generator=torch.Generator().manual_seed(0)) / 32**0.5
    save_file({"model.embed_tokens.weight": table}, here / "embeddings.safetensors")
    shutil.copy(tokenizer_path, here / "tokenizer.model")
    (here / "words.txt").write_text("".join(f"{word}\n" for word in vocabulary.words), encoding="utf-8")
    return here


@pytest.fixture(scope="module")
def config(vocabulary: Vocabulary) -> LlamaTraining:
    said = [word for word in vocabulary.words if len(vocabulary.tokenizer.encode(word)) == 1][:12]
    return LlamaTraining(
        shape="config.json",
        embeddings="embeddings.safetensors",
        tokenizer="tokenizer.model",
        codec=".",
        slots=tuple(said),
        layers="semantic",
        window=4,
        orders=2,
        bank=BankSpec(0, 0, 0, 1.0, 1),
        validation=BankSpec(0, 0, 0, 1.0, 2),
        sets=(),
        shares={"sound": 1.0},
        aids=Aids(layer=1, listening=0.1, likeness=1.0, attention=0.3, copying=0.3, closing=0.1),
        steps=6,
        matching_steps=2,
        batch_ids=600,
        learning_rate=0.003,
        noise=0.1,
        validation_episodes=4,
    )


def test_the_open_forward_gives_the_logits_of_the_plain_model(folder: Path) -> None:
    network = new_network(CONFIG, torch.randn(420, 32), 1, seed=1)
    ids = torch.randint(420, (2, 30), generator=torch.Generator().manual_seed(1))
    hidden = network.model.embed_tokens(ids)
    for layer in range(3):
        hidden, _, _ = apply_layer(network, layer, hidden, torch.arange(30)[None])
    rows = torch.tensor([[3, 29], [0, 10]])
    expected = torch.stack([network(ids).logits[row, at] for row, at in enumerate(rows)])
    torch.testing.assert_close(logits_at(network, hidden, rows), expected, atol=1e-5, rtol=1e-4)


def test_input_embeddings_are_the_table_and_never_train() -> None:
    table = torch.randn(420, 32)
    network = new_network(CONFIG, table, 1, seed=1)
    assert network.model.embed_tokens.weight.equal(table)
    assert not network.model.embed_tokens.weight.requires_grad


def test_a_training_that_was_stopped_goes_on_bit_by_bit(
    folder: Path, config: LlamaTraining, tmp_path: Path
) -> None:
    whole = LabelTrainer(config, folder, BANK, BANK)
    for _ in range(6):
        whole.train_step()
    first = LabelTrainer(config, folder, BANK, BANK)
    for _ in range(3):
        first.train_step()
    first.save(tmp_path / "checkpoint.pt")
    second = LabelTrainer(config, folder, BANK, BANK)
    second.resume(tmp_path / "checkpoint.pt")
    for _ in range(3):
        second.train_step()
    for one, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert one.equal(other)


def test_the_first_steps_train_the_matching_alone(folder: Path, config: LlamaTraining) -> None:
    trainer = LabelTrainer(config, folder, BANK, BANK)
    assert set(trainer.train_step()) == {"listening", "contrast", "likeness", "copying"}
    trainer.step = 2
    assert set(trainer.train_step()) == {"listening", "attention", "copying", "label", "closing"}
    trainer.step = 3
    assert set(trainer.train_step()) == {"listening", "contrast", "likeness", "copying"}


def test_losses_fall_on_easy_classes(folder: Path, config: LlamaTraining) -> None:
    trainer = LabelTrainer(replace(config, matching_steps=25, steps=45), folder, BANK, BANK)
    losses = [trainer.train_step() for _ in range(45)]
    contrast = [loss["contrast"] for loss in losses[:25]]
    assert sum(contrast[-5:]) < sum(contrast[:5])
    for name in ("label", "closing", "attention"):
        seen = [loss[name] for loss in losses[25:] if name in loss]
        assert sum(seen[-4:]) < sum(seen[:4])


def test_labels_of_classes_not_yet_shown_teach_nothing(folder: Path, config: LlamaTraining) -> None:
    trainer = LabelTrainer(config, folder, BANK, BANK)
    batch = trainer.episodes.batch(random.Random(0), EpisodeShape(3, 2, 4), 2)
    other = replace(batch, slots=batch.slots.where(batch.shown, 7))
    one, two = (label_losses(trainer.network, b, config.aids)["label"] for b in (batch, other))
    assert one == two


def test_attention_on_the_right_labels_costs_nothing(folder: Path, config: LlamaTraining) -> None:
    trainer = LabelTrainer(config, folder, BANK, BANK)
    batch = trainer.episodes.batch(random.Random(0), EpisodeShape(3, 2, 4), 1)
    length = batch.token_ids.shape[1]
    classes = torch.full((length,), 3)
    classes[batch.outs[0]] = classes[batch.outs[0] + 1] = batch.classes[0].unique(return_inverse=True)[1]
    keys = torch.eye(4)[classes][None, None] * (classes < 3)[:, None]
    keys[0, 0, batch.outs[0]] = 0
    queries = torch.eye(4)[classes][None, None] * 200
    assert attention_loss(batch, queries, keys) == pytest.approx(0, abs=1e-3)
    assert attention_loss(batch, queries, keys.roll(1, -1)) > 1


def test_what_is_written_labels_clips_as_it_was_trained(
    folder: Path, config: LlamaTraining, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    path = LabelTrainer(config, folder, BANK, BANK).write(tmp_path / "llama", folder)
    assert read_model_prompt(path) == ModelPrompt(config.slots, "semantic", 4, 2)
    library = [LabeledClip(clip(0, 0), "狗叫"), LabeledClip(clip(1, 0), "anything at all")]
    labeler = FewShotLabeler(
        FrozenLlama.from_directory(path), vocabulary, ["狗叫", "anything at all"], library, FewShotSettings()
    )
    assert labeler.label([clip(0, 1)])[0].label in ("狗叫", "anything at all")


def test_a_configuration_comes_back_from_its_file(config: LlamaTraining, tmp_path: Path) -> None:
    from dataclasses import asdict

    (tmp_path / "mini.json").write_text(json.dumps(asdict(config)))
    assert LlamaTraining.from_json(tmp_path / "mini.json") == config


def test_an_unknown_field_is_refused(config: LlamaTraining, tmp_path: Path) -> None:
    from dataclasses import asdict

    values: dict[str, Any] = asdict(config) | {"surprise": 1}
    (tmp_path / "mini.json").write_text(json.dumps(values))
    with pytest.raises(TypeError, match="surprise"):
        LlamaTraining.from_json(tmp_path / "mini.json")
