"""Answers said id by id on a device with LLAMA 2's shapes, many at once behind a shared prompt.

Each step reads all weights but the embeddings, and the keys and values of the row, once: those bytes over the
seconds of a step are held against the measured memory bandwidth. What a step costs is what a longer answer
takes more than one of a single id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.device import Device, if_it_fits
from benchmarks.gpu_labeling import LlamaSizes, model_that_fits
from benchmarks.machine import size
from benchmarks.random_llama import frozen, random_ids
from core.in_context.audio_generator import Decoding
from core.llama.model import FrozenLlama
from core.llama.shared_prefix import SharedPrefix

# isort: split
from transformers import LlamaForCausalLM

BANDWIDTH_BAR = 0.5


@dataclass(frozen=True)
class GenerationFigure:
    """batch: answers said at once. seconds, read: a step's, and the bytes it must read. share: of the
    measured bandwidth."""

    model: str
    batch: int
    seconds: float
    read: float
    share: float

    def __str__(self) -> str:
        step = f"{self.seconds:>12.6f}{self.batch / self.seconds:>10.0f}{self.read / 1e9:>8.1f}"
        return f"  {self.model:<12} {self.batch:>5}{step}{self.share:>14.1%}"


class Spoken:
    """An answer of a fixed length in which every id may come, as in the acoustic layers."""

    def __init__(self, length: int, vocab_size: int) -> None:
        self.longest = length
        self._left = length
        self._ids = torch.arange(vocab_size)

    @property
    def allowed(self) -> Tensor:
        """Allow all ids, and none once the answer is complete."""
        return self._ids[: None if self._left else 0]

    def accept(self, token_id: int) -> None:
        """Take any id."""
        self._left -= 1


def title(sizes: LlamaSizes) -> str:
    """Return the heading of the table."""
    return (
        f"Generation in bfloat16, random weights, prompt of {sizes.prefix} ids, greedy answers of "
        f"{sizes.steps} ids in one row\n"
        f"  {'':<12} {'batch':>5}{'s a step':>12}{'ids / s':>10}{'GB':>8}{'of bandwidth':>14}"
    )


def figures(device: Device, sizes: LlamaSizes) -> Iterator[GenerationFigure | str]:
    """Yield every shape that fits."""
    for name, config in sizes.shapes.items():
        model = model_that_fits(name, config, device)
        if isinstance(model, str):
            yield model
            continue
        yield if_it_fits(f"{name}, generation", partial(_generated, name, model, device, sizes))
        del model  # before the next one is made


def bars(measured: Sequence[GenerationFigure]) -> Iterator[tuple[str, bool]]:
    """Yield the bandwidth of each shape."""
    for one in measured:
        said = f"{one.model}, batch {one.batch}: {one.share:.1%} of the bandwidth, of {BANDWIDTH_BAR:.0%}"
        yield said, one.share >= BANDWIDTH_BAR


def _generated(name: str, model: LlamaForCausalLM, device: Device, sizes: LlamaSizes) -> GenerationFigure:
    generator = torch.Generator().manual_seed(0)
    llama = frozen(model, "bfloat16")
    prefix = llama.prefill(random_ids(sizes.prefix, generator))
    queries = [random_ids(sizes.query, generator) for _ in range(sizes.generated)]
    one, all_ = (
        device.seconds(partial(answer, llama, prefix, queries, length)) for length in (1, 1 + sizes.steps)
    )
    seconds = (all_ - one) / sizes.steps
    read = step_bytes(model, sizes)
    return GenerationFigure(name, len(queries), seconds, read, read / seconds / device.bandwidth)


def answer(llama: FrozenLlama, prefix: SharedPrefix, queries: Sequence[Sequence[int]], length: int) -> None:
    """Greedy answers to all queries, in one row."""
    spoken = [Spoken(length, llama.vocab_size) for _ in queries]
    choose = [Decoding().choose(0) for _ in queries]
    budget = sum(len(query) + length for query in queries)
    llama.generate(prefix, queries, spoken, choose, pack_budget=budget)


def step_bytes(model: LlamaForCausalLM, sizes: LlamaSizes) -> float:
    """Return what a step must read: of the row, its mean length over the steps."""
    config = model.config
    weights = size(model.parameters()) - size([model.model.embed_tokens.weight])
    row = sizes.prefix + sizes.generated * (sizes.query + 1 + (sizes.steps - 1) / 2)
    width = config.num_key_value_heads * config.head_dim
    return float(weights + 2 * config.num_hidden_layers * width * model.dtype.itemsize * row)
