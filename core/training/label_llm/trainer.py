"""Training of the mini LLaMA that labels: `python -m core.training.label_llm.trainer CONFIG OUT [DATA]`.

The random draws of a step depend on the seed and the step alone, so a resumed training continues as if it had
not stopped. Checkpoints are written periodically, with the accuracy on validation classes.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from core.codec import LLMCodec
from core.prompts.model_slots import PROMPT_FILE, ModelPrompt
from core.prompts.template import Layers, PromptTemplate
from core.training.codec.trainer import file_reader
from core.training.data.bank import TokenBank, merge_banks, token_bank
from core.training.data.clips import Bank, BankSpec, TrainingClip, make_clips, recorded_clips, write_bank
from core.training.label_llm.episodes import EpisodeBatch, Episodes, EpisodeShape
from core.training.label_llm.losses import Aids, label_losses, matching_losses
from core.training.label_llm.network import apply_layer, logits_at, new_network
from core.training.llama_trainer import LlamaTrainer, TrainingPlan

VALIDATION_TASKS = ((2, 1), (2, 3), (3, 1), (5, 1), (5, 3))
"""(n_way, k_shot)."""


MATCHING_EVERY = 3
"""After the first steps, which train the matching alone, every third step still does."""


@dataclass(frozen=True, kw_only=True)
class LlamaTraining(TrainingPlan):
    """Configuration of one training, read from JSON.

    The first `matching_steps` train only the matching of clips. `orders` is the number of prompts that
    labeling averages.
    """

    embeddings: str
    slots: tuple[str, ...]
    layers: Layers
    window: int
    orders: int
    bank: BankSpec
    validation: BankSpec
    sets: tuple[str, ...]
    aids: Aids
    matching_steps: int
    validate_every: int = 250
    validation_episodes: int = 100

    @classmethod
    def from_json(cls, path: Path) -> "LlamaTraining":
        """Read a file. Raises TypeError for an unknown field."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            "slots": tuple(values["slots"]),
            "sets": tuple(values["sets"]),
            "bank": BankSpec(**values["bank"]),
            "validation": BankSpec(**values["validation"]),
            "aids": Aids(**values["aids"]),
        }
        return cls(**(values | parts))


def train_mini(config_path: Path, out: Path, *, data: Path | None = None) -> Path:
    """Train and write OUT/llama, a directory for FrozenLlama; resume from OUT/checkpoint.pt.

    data: the folder of the recorded sets of the configuration. Raises ValueError when it is missing.
    """
    config, here = LlamaTraining.from_json(config_path), config_path.parent
    torch.manual_seed(config.seed)
    trainer = LabelTrainer(config, here, *_banks(config, here, out, data))
    trainer.train(out)
    return trainer.write(out / "llama", here)


class LabelTrainer(LlamaTrainer):
    """A network, its optimizer and its episodes."""

    warmup_steps = 50

    def __init__(self, config: LlamaTraining, here: Path, bank: TokenBank, validation: TokenBank) -> None:
        self.config = config
        table = load_file(here / config.embeddings)["model.embed_tokens.weight"]
        super().__init__(config, new_network(config.read_shape(here), table, config.aids.layer, config.seed))
        template = PromptTemplate(config.read_vocabulary(here), config.layers)
        self.episodes = Episodes(bank, template, config.slots, config.shares, smallest_class=6)
        kinds = {kind: share for kind, share in config.shares.items() if kind in validation.kinds}
        held_out = Episodes(validation, template, config.slots, kinds, smallest_class=6)
        rng, count = random.Random(config.seed), config.validation_episodes
        self._tests = {
            f"{n_way}w{k_shot}s": held_out.tests(rng, n_way, k_shot, config.window, count)
            for n_way, k_shot in VALIDATION_TASKS
        }

    def train_step(self) -> dict[str, float]:
        """Make one update; return the losses before their weights."""
        config, rng = self.config, random.Random(f"{self.config.seed} {self.step}")
        if self.step < config.matching_steps or self.step % MATCHING_EVERY == 0:
            generator = torch.Generator().manual_seed(rng.getrandbits(60))
            batch = self._matching_batch(rng)
            alike = self.episodes.similarities(batch)
            losses = matching_losses(self.network, batch, alike, config.aids.layer, generator)
        else:
            losses = label_losses(self.network, self._batch(rng), config.aids)
        weights = {"label": 1.0, "contrast": 1.0} | asdict(config.aids)
        return self.update(losses, weights)

    def _batch(self, rng: random.Random) -> EpisodeBatch:
        """Draw episodes of 2 to 10 classes and 8 to 20 clips."""
        n_way = rng.choice((2, 2, 3, 3, 4, 5, 5, 6, 8, 10))
        shape = EpisodeShape(n_way, min(6, max(2, round(rng.randint(8, 16) / n_way))), self._window(rng))
        count = self._prompts(shape.n_way * shape.clips_per_class, shape.window)
        return self.episodes.batch(rng, shape, count, noise=self.config.noise * rng.random())

    def _matching_batch(self, rng: random.Random) -> EpisodeBatch:
        """Draw prompts of other lengths, with three clips per class."""
        shape = EpisodeShape(rng.choice((4, 8, 12)), 3, self._window(rng))
        count = self._prompts(shape.n_way, shape.window) // 3 * 3
        return self.episodes.scattered(rng, shape, max(3, count), noise=self.config.noise * rng.random())

    def _window(self, rng: random.Random) -> int:
        """Draw a window, most often the full one."""
        return self.config.window if rng.random() < 0.6 else rng.randint(3, self.config.window)

    def _prompts(self, clips: int, window: int) -> int:
        """Return how many prompts of `clips` clips make a batch."""
        codes = 1.13 if self.config.layers == "semantic" else 7.13
        return max(1, round(self.config.batch_ids / (clips * (codes * window + 13) + 20)))

    def log_row(self, losses: Mapping[str, float]) -> dict[str, Any]:
        """Return the line of the log at a checkpoint."""
        return {"step": self.step, **losses, **self.validate()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the accuracy by task on classes that are never trained."""
        return {name: round(self._accuracy(batch), 4) for name, batch in self._tests.items()}

    def _accuracy(self, batch: EpisodeBatch) -> float:
        rows = range(0, len(batch.outs), 20)
        right = [self._right(batch, slice(start, start + 20)) for start in rows]
        return float(torch.cat(right).float().mean())

    def _right(self, batch: EpisodeBatch, part: slice) -> Tensor:
        hidden = self.network.model.embed_tokens(batch.token_ids[part])
        positions = torch.arange(hidden.shape[1])[None]
        for layer in range(len(self.network.model.layers)):
            hidden, _, _ = apply_layer(self.network, layer, hidden, positions)
        logits = logits_at(self.network, hidden, batch.outs[part, -1:])[:, 0]
        candidates = batch.candidates[part]
        answers = candidates.gather(1, logits.gather(1, candidates).argmax(1, keepdim=True))
        return answers[:, 0] == batch.slots[part, -1]

    def write(self, path: Path, here: Path) -> Path:
        """Write the weights as a Hugging Face directory, with the slots that stand for labels."""
        super().write(path, here)
        config = self.config
        prompt = ModelPrompt(config.slots, config.layers, config.window, config.orders)
        (path / PROMPT_FILE).write_text(json.dumps(asdict(prompt), indent=1) + "\n", encoding="utf-8")
        return path


def _banks(config: LlamaTraining, here: Path, out: Path, data: Path | None) -> tuple[TokenBank, TokenBank]:
    """Return the encoded banks of training and of validation, made once."""
    if config.sets and data is None:
        raise ValueError(f"the recorded sets {config.sets} need a data folder: pass the one that holds them")
    codec = LLMCodec.from_directory(here / config.codec)
    sources = {f"bank-{spec.seed}": make_clips(spec) for spec in (config.validation, config.bank)}
    if data and config.sets:
        reader = file_reader(codec.config.sample_rate)
        sources["recorded"] = recorded_clips(data, config.sets, reader)
    banks = [_bank(out / f"{name}.safetensors", clips, codec) for name, clips in sources.items()]
    return merge_banks(banks[1:]), banks[0]


def _bank(path: Path, clips: Iterator[TrainingClip], codec: LLMCodec) -> TokenBank:
    return token_bank(path.parent, Bank(path) if path.exists() else write_bank(path, clips), codec)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_mini(Path(sys.argv[1]), Path(sys.argv[2]), data=Path(sys.argv[3]) if len(sys.argv) > 3 else None)
