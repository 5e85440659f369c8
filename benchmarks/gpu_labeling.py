"""Labeling on a device with LLAMA 2's shapes: packed queries behind a shared prompt against plain prompts.

Weights are random, in bfloat16, made on the device. A plain prompt is read whole for each clip and gives the
logits of its last id alone, one at a time or in batches without padding; packed queries score five labels.
Beside the seconds a clip stands what the arithmetic that a clip needs is of the measured matrix rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from benchmarks.device import Device, free_bytes, if_it_fits
from benchmarks.machine import size
from benchmarks.random_llama import (
    CLOSING,
    LABELS,
    difference_from_alone,
    frozen,
    last_logits,
    packed_operations,
    prompt_operations,
    random_ids,
    random_model,
)
from core.llama.model import FrozenLlama
from core.prompts.label_trie import label_trie

# isort: split
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

SPEED_BAR, RATE_BAR, DIFFERENCE_BAR = 50.0, 0.4, 0.02
WORKING = 1.2
"""What a model takes of memory while it is asked, in multiples of its weights."""
LLAMA_2 = {
    "LLAMA 2 7B": LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        vocab_size=32000,
        max_position_embeddings=4096,
    ),
    "LLAMA 2 13B": LlamaConfig(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        vocab_size=32000,
        max_position_embeddings=4096,
    ),
}


@dataclass(frozen=True)
class LlamaSizes:
    """Ids of the prompt and of a query, how many queries, and how they are put together.

    pack_budgets: ids of a row beside the one that ships. generated, steps: answers that are said at once, and
    ids of each.
    """

    shapes: Mapping[str, LlamaConfig] = field(default_factory=lambda: LLAMA_2)
    prefix: int = 2000
    query: int = 30
    queries: int = 512
    plain_batches: tuple[int, ...] = (1, 4, 16)
    pack_budgets: tuple[int, ...] = (512, 1024, 4096)
    generated: int = 32
    steps: int = 64


@dataclass(frozen=True)
class LabelingFigure:
    """seconds: a clip. together: prompts of a batch, or ids of a packed row, None as it ships. rate: of the
    measured matrix rate. different: the most that a label's probability differs from a prompt read alone."""

    model: str
    way: Literal["plain", "prefill", "packed"]
    together: int | None
    seconds: float
    rate: float
    different: float = 0.0

    def __str__(self) -> str:
        together = "as shipped" if self.together is None else str(self.together)
        numbers = f"{self.seconds:>12.6f}{self.rate:>10.1%}{self.different:>12.1e}"
        return f"  {self.model:<12} {self.way:<8}{together:>11}{numbers}"


def title(sizes: LlamaSizes) -> str:
    """Return the heading of the table."""
    return (
        f"Labeling in bfloat16, random weights, prompt of {sizes.prefix} ids, queries of {sizes.query}, "
        "five labels; together are prompts of a batch, ids of a packed row\n"
        f"  {'':<12} {'way':<8}{'together':>11}{'s a clip':>12}{'of rate':>10}{'differ':>12}"
    )


def figures(device: Device, sizes: LlamaSizes) -> Iterator[LabelingFigure | str]:
    """Yield every shape that fits, every way."""
    for name, config in sizes.shapes.items():
        model = model_that_fits(name, config, device)
        if isinstance(model, str):
            yield model
            continue
        labeling = Labeling(name, model, device, sizes)
        yield from labeling.figures()
        del model, labeling  # before the next one is made


def bars(measured: Sequence[LabelingFigure]) -> Iterator[tuple[str, bool]]:
    """Of each shape, packed as it ships."""
    for packed in (f for f in measured if f.way == "packed" and f.together is None):
        plain = {f.together: f.seconds for f in measured if f.model == packed.model and f.way == "plain"}
        if 1 in plain:
            gain, best = plain[1] / packed.seconds, min(plain.values()) / packed.seconds
            said = (
                f"{packed.model}: {gain:.1f} times as fast as one full forward per clip, of {SPEED_BAR:.0f}"
            )
            yield f"{said} ({best:.1f} times the best plain batch)", gain >= SPEED_BAR
        yield (
            f"{packed.model}: {packed.rate:.1%} of the matrix rate, of {RATE_BAR:.0%}",
            packed.rate >= RATE_BAR,
        )
        said = f"{packed.model}: probabilities within {packed.different:.1e}, of {DIFFERENCE_BAR}"
        yield said, packed.different <= DIFFERENCE_BAR


def model_that_fits(name: str, config: LlamaConfig, device: Device) -> LlamaForCausalLM | str:
    """Return the model with random weights in bfloat16, or a line if there is no room for it."""
    with torch.device("meta"):
        weights = size(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).parameters())
    free = free_bytes(device.at)
    if weights * WORKING > free:
        needed = f"{weights * WORKING / 1e9:.0f} GB are needed, {free / 1e9:.0f} GB are free"
        return f"{name}: skipped, it does not fit the memory of the device: {needed}"
    return random_model(torch.Generator(device.at).manual_seed(0), config, "bfloat16")


class Labeling:
    """One model, the same prompt and queries for every way."""

    def __init__(self, name: str, model: LlamaForCausalLM, device: Device, sizes: LlamaSizes) -> None:
        self.name, self.model, self.device, self.sizes = name, model, device, sizes
        self.llama: FrozenLlama = frozen(model, "bfloat16")
        self.trie = label_trie(LABELS, CLOSING)
        generator = torch.Generator().manual_seed(0)
        self.prefix = random_ids(sizes.prefix, generator)
        self.queries = [random_ids(sizes.query, generator) for _ in range(sizes.queries)]

    def figures(self) -> Iterator[LabelingFigure | str]:
        """Plain batches, then packed rows."""
        for batch in self.sizes.plain_batches:
            yield if_it_fits(f"{self.name}, plain batch of {batch}", partial(self.plain, batch))
        yield if_it_fits(f"{self.name}, prefill", self.prefill)
        for budget in (None, *self.sizes.pack_budgets):
            yield if_it_fits(f"{self.name}, packed rows of {budget} ids", partial(self.packed, budget))

    def plain(self, batch: int) -> LabelingFigure:
        """Whole prompts, as many at once as the batch has."""
        rows = [[*self.prefix, *self.queries[at % len(self.queries)]] for at in range(batch)]
        ids = torch.tensor(rows, device=self.device.at)
        seconds = self.device.seconds(lambda: last_logits(self.model, ids)) / batch
        needed = prompt_operations(self.model, ids.shape[1])
        return self._figure("plain", batch, seconds, needed)

    def prefill(self) -> LabelingFigure:
        """Return the prompt that all queries share, once."""
        seconds = self.device.seconds(lambda: self.llama.prefill(self.prefix))
        needed = prompt_operations(self.model, len(self.prefix), states=0)
        return self._figure("prefill", 1, seconds, needed)

    def packed(self, budget: int | None) -> LabelingFigure:
        """Score all queries behind one prefix, which is read before."""
        shared = self.llama.prefill(self.prefix)
        score = partial(self.llama.score_nodes, shared, self.queries, self.trie, pack_budget=budget)
        different = self.difference(score())
        seconds = self.device.seconds(score) / len(self.queries)
        needed = packed_operations(self.model, len(self.prefix), self.sizes.query, self.trie)
        return self._figure("packed", budget, seconds, needed, different)

    def difference(self, nodes: Tensor) -> float:
        """Return how far the labels' probabilities are from those of a few prompts read alone."""
        return difference_from_alone(self.llama, self.prefix, self.queries, nodes, self.trie)

    def _figure(
        self,
        way: Literal["plain", "prefill", "packed"],
        together: int | None,
        seconds: float,
        needed: float,
        different: float = 0.0,
    ) -> LabelingFigure:
        rate = needed / seconds / self.device.rates["bfloat16"]
        return LabelingFigure(self.name, way, together, seconds, rate, different)
