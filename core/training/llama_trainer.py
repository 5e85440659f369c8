"""What both trainings of a LLaMA share: the loop, updates by weighted losses, checkpoints and their log."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from core.codec.files.directory import WORDS, read_words
from core.llama.huggingface import LlamaConfig, LlamaForCausalLM
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from core.training.checkpointing import load_checkpoint, save_checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What the configurations of both trainings have. Paths are relative to the file.

    shares: how often a prompt is of each kind of clip. A batch has about `batch_ids` token ids; `noise` is
    the share of those that are replaced in the input.
    """

    shape: str
    tokenizer: str
    codec: str
    shares: dict[str, float]
    steps: int
    batch_ids: int
    learning_rate: float
    noise: float = 0.0
    weight_decay: float = 0.05
    validate_every: int = 200
    seed: int = 0

    def read_shape(self, here: Path) -> LlamaConfig:
        """Return the shape of the network."""
        shape: LlamaConfig = LlamaConfig.from_dict(json.loads((here / self.shape).read_text()))
        return shape

    def read_vocabulary(self, here: Path) -> Vocabulary:
        """Return the codec's words as ids of the tokenizer."""
        return Vocabulary(read_words(here / self.codec / WORDS), TextTokenizer(here / self.tokenizer))


class LlamaTrainer(ABC):
    """A network and its optimizer. `step` counts finished updates; `train_step` makes the next one."""

    warmup_steps: int
    """Steps over which the learning rate rises from 0."""
    written_dtype = torch.float32

    def __init__(self, plan: TrainingPlan, network: LlamaForCausalLM) -> None:
        self._plan, self.network = plan, network
        self.step = 0
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
        )

    @abstractmethod
    def train_step(self) -> dict[str, float]:
        """Make one update; return the losses before their weights, in nats."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return measures on what is never trained."""

    def log_row(self, losses: Mapping[str, float]) -> dict[str, Any]:
        """Return the line of the log at a checkpoint."""
        return {"step": self.step, "trained": losses, "validated": self.validate()}

    def train(self, out: Path) -> None:
        """Train to the last step from OUT/checkpoint.pt on, with a line of OUT/log.jsonl for each."""
        self.resume(out / "checkpoint.pt")
        steps = self._plan.steps
        with tqdm(total=steps, initial=self.step, unit="step", mininterval=10) as bar:
            while self.step < steps:
                losses = self.train_step()
                bar.update()
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
                if self.step % self._plan.validate_every == 0 or self.step == steps:
                    self.save(out / "checkpoint.pt")
                    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                        log.write(json.dumps(self.log_row(losses)) + "\n")

    def save(self, path: Path) -> None:
        """Write weights, optimizer and step."""
        save_checkpoint(path, self._parts, step=self.step)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint, if there is one."""
        if path.exists():
            self.step = load_checkpoint(path, self._parts)["step"]

    def write(self, path: Path, here: Path) -> Path:
        """Write the weights as a Hugging Face directory, with the tokenizer."""
        path.mkdir(parents=True, exist_ok=True)
        tensors = dict(self.network.state_dict())
        if self.network.config.tie_word_embeddings:
            tensors.pop("lm_head.weight")
        kept = {
            name: tensors[name].to(self.written_dtype, copy=True).contiguous() for name in sorted(tensors)
        }
        save_file(kept, path / "model.safetensors", {"format": "pt"})
        for name in (self._plan.shape, self._plan.tokenizer):
            (path / Path(name).name).write_bytes((here / name).read_bytes())
        return path

    def update(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, float]:
        """Make one update by the weighted sum of losses; return them before their weights."""
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.step()
        self.step += 1
        return {name: round(loss.item(), 4) for name, loss in losses.items()}

    def _learning_rate(self) -> float:
        rising = min(1.0, (self.step + 1) / self.warmup_steps)
        falling = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * self.step / self._plan.steps))
        return self._plan.learning_rate * rising * falling

    @property
    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimizer": self.optimizer}
