"""Training of the small LLaMA that answers with audio: `wordwave train mini-audio CONFIG OUT --data DATA`.

The random draws of a step depend on the seed and the step alone, so a resumed training continues as if it had
not stopped. Checkpoints are written periodically, with the loss on held-out sounds, voices and noise.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.codec import LLMCodec
from core.training.audio_llm.clips import AnswerSpec, answer_clips
from core.training.audio_llm.episodes import AnswerBatch, AnswerEpisodes
from core.training.audio_llm.losses import ATTENTION_LOSSES, answer_losses
from core.training.audio_llm.network import answer_network
from core.training.codec.trainer import file_reader
from core.training.data.bank import TokenBank, token_bank
from core.training.data.clips import Bank, write_bank
from core.training.data.corpus import read_word_list
from core.training.llama_trainer import LlamaTrainer, TrainingPlan

VALIDATION_SHARE = 0.05
"""Share of the classes, voices and pairs of each kind held out for validation.

Recorded speakers are too few.
"""


@dataclass(frozen=True, kw_only=True)
class AnswerTraining(TrainingPlan):
    """Configuration of one training, read from JSON.

    later_shares: the shares from step later_from on, when digits and sounds are learned but noise is not.
    `looking` is the weight of the attention losses, `precision` the type of the matrix products; bfloat16 is
    many times slower on a CPU without support for it.
    """

    clips: AnswerSpec
    later_shares: dict[str, float]
    later_from: int
    looking: float
    precision: str = "float32"
    validation_batches: int = 2

    @classmethod
    def from_json(cls, path: Path) -> "AnswerTraining":
        """Read a file. Raises TypeError for an unknown field."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        clips: dict[str, Any] = values["clips"]
        lists = {name: tuple(value) for name, value in clips.items() if isinstance(value, list)}
        return cls(**values | {"clips": AnswerSpec(**clips | lists)})


def train_answers(config_path: Path, out: Path, *, data: Path) -> Path:
    """Train and write OUT/llama, a directory for FrozenLlama; resume from OUT/checkpoint.pt.

    data: the folder of the recorded sets.
    """
    config, here = AnswerTraining.from_json(config_path), config_path.parent
    trainer = AnswerTrainer(config, here, _bank(config, here, out, data))
    trainer.train(out)
    return trainer.write(out / "llama", here)


class AnswerTrainer(LlamaTrainer):
    """A network, its optimizer and its prompts."""

    warmup_steps = 100
    written_dtype = torch.float16

    def __init__(self, config: AnswerTraining, here: Path, bank: TokenBank) -> None:
        self.config = config
        super().__init__(config, answer_network(config.read_shape(here), config.seed))
        vocabulary = config.read_vocabulary(here)
        labels = sorted({word for kind in read_word_list().values() for word in kind})
        kept, trained = _kept_back(bank)
        self._episodes = AnswerEpisodes(trained, vocabulary, labels)
        held_out = AnswerEpisodes(kept, vocabulary, labels)
        rng = random.Random(config.seed)
        self._tests = {
            kind: [held_out.batch(rng, 6000, {kind: 1.0}) for _ in range(config.validation_batches)]
            for kind in ("word", "sound", "noisy")
        }

    def train_step(self) -> dict[str, float]:
        """Make one update; return the losses before their weights, in nats."""
        config, rng = self.config, random.Random(f"{self.config.seed} {self.step}")
        shares = config.shares if self.step < config.later_from else config.later_shares
        batch = self._episodes.batch(rng, config.batch_ids, shares)
        losses = self._losses(batch, torch.Generator().manual_seed(rng.getrandbits(60)))
        weights = {"answer": 1.0} | dict.fromkeys(ATTENTION_LOSSES, config.looking)
        return self.update(losses, weights)

    def _losses(self, batch: AnswerBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the losses of a batch, with some answer ids misread in the input if there is a generator."""
        read = batch.token_ids if generator is None else self._misread(batch, generator)
        reduced = self.config.precision != "float32"
        with torch.autocast("cpu", getattr(torch, self.config.precision) if reduced else None, reduced):
            return answer_losses(self.network, batch, read)

    def _misread(self, batch: AnswerBatch, generator: torch.Generator) -> Tensor:
        """Replace some answer ids in the input, so that one wrong id of an answer does not spoil the next."""
        drawn = torch.rand(batch.token_ids.shape, generator=generator)
        others = torch.randint(self.network.config.vocab_size, batch.token_ids.shape, generator=generator)
        return torch.where(batch.answers & (drawn < self.config.noise), others, batch.token_ids)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the loss by kind on the held-out clips."""
        return {kind: round(self._mean_loss(batches), 4) for kind, batches in self._tests.items()}

    def _mean_loss(self, batches: list[AnswerBatch]) -> float:
        return float(torch.stack([self._losses(batch)["answer"] for batch in batches]).mean())


def _bank(config: AnswerTraining, here: Path, out: Path, data: Path) -> TokenBank:
    """Build and encode the clips once."""
    codec = LLMCodec.from_directory(here / config.codec)
    path = out / "bank.safetensors"
    if not path.exists():
        write_bank(path, answer_clips(config.clips, data, file_reader(codec.config.sample_rate)))
    return token_bank(out, Bank(path), codec)


def _kept_back(bank: TokenBank) -> tuple[TokenBank, TokenBank]:
    """Split a bank: the last classes, voices and pairs of each kind except recorded digits, and all
    others.
    """
    groups: dict[str, dict[str, None]] = {}
    for kind, name in zip(bank.kinds, bank.names, strict=True):
        groups.setdefault(kind, {})[name.partition("\t")[0]] = None
    kept = {
        (kind, group)
        for kind, names in groups.items()
        if kind in ("word", "sound", "noisy", "clean")
        for group in list(names)[-max(6, round(VALIDATION_SHARE * len(names))) :]
    }
    keys = [(k, n.partition("\t")[0]) for k, n in zip(bank.kinds, bank.names, strict=True)]
    return (
        bank.only([number for number, key in enumerate(keys) if key in kept]),
        bank.only([number for number, key in enumerate(keys) if key not in kept]),
    )
