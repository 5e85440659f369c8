"""Encoding and decoding by clip length and batch: ours against the released way and other codecs, in one run.

`python -m benchmarks.codec [SECONDS ...]` prints tables, the bars and a JSON line. Weights are random, ours
and the released way's the same ones in the released shape, and both are first held against each other.
Beside each figure stand the floor, what arithmetic and weights alone cost at the rates that this machine
shows in the same run, and how often the figure is that. What is compared takes turns. The released way takes
clips one at a time, so its seconds a clip are the same in every batch.
"""

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor

from benchmarks.machine import Machine, operations, seconds_in_turn, size
from benchmarks.other_codecs import OTHERS, OtherCodec
from benchmarks.recorded import verdict
from benchmarks.released import ReleasedCodec, golden_difference, random_state
from core.codec import CodecConfig, LLMCodec
from core.codec.files.checkpoint import canonical

LENGTHS = (1, 4, 10)
"""Seconds of a clip."""
BATCHES = (1, 4, 16)
BUDGET, RELEASED_BUDGET = 6.0, 12.0
"""Seconds that figures may be measured for, in turn with another codec and with the released way."""
ENCODE_BAR, DECODE_BAR = 60.0, 10.0
Direction = Literal["encode", "decode"]
DIRECTIONS: tuple[Direction, ...] = ("encode", "decode")


@dataclass(frozen=True)
class Figure:
    """Seconds a clip of `length` seconds, in a batch; released is the same for every batch."""

    direction: Direction
    length: int
    batch: int
    ours: float
    released: float
    floor: float
    released_floor: float

    @property
    def speedup(self) -> float:
        return self.released / self.ours

    def __str__(self) -> str:
        return (
            f"  {self.direction} {self.length:>3} s {self.batch:>3}"
            f"{self.ours:>10.4f}{self.floor:>10.4f}{self.ours / self.floor:>8.1f}"
            f"{self.released:>10.3f}{self.released_floor:>10.3f}{self.released / self.released_floor:>8.1f}"
            f"{self.speedup:>8.1f}"
        )


@dataclass(frozen=True)
class OtherFigure:
    """Seconds for one second of audio, one clip at a time, and what ours took in turn with it."""

    codec: str
    direction: Direction
    seconds: float
    floor: float
    ours: float

    def __str__(self) -> str:
        return (
            f"  {self.direction} {self.codec:<8}{self.seconds:>10.4f}{self.floor:>10.4f}"
            f"{self.seconds / self.floor:>8.1f}{self.ours:>10.4f}"
        )


Measured = TypeVar("Measured", Figure, OtherFigure)


class Comparison:
    """Both ways over the same weights, and what a second of audio takes of operations in ours."""

    def __init__(self, machine: Machine, config: CodecConfig) -> None:
        self.machine, self.config = machine, config
        self._generator = torch.Generator().manual_seed(0)
        state = random_state(config, self._generator)
        self.released, self.ours = ReleasedCodec(config, state), LLMCodec(config)
        self.ours.load_canonical(canonical(state))
        self.clip = self.clips(1, 1)
        self.codes = self.ours.encode(self.clip)
        self._operations = {
            "encode": operations(lambda: self.ours.encode(self.clip)),
            "decode": operations(lambda: self.ours.decode(self.codes)),
        }

    def clips(self, length: int, batch: int) -> Tensor:
        """(batch, 1, T) of noise."""
        shape = (batch, 1, length * self.config.sample_rate)
        return torch.randn(shape, generator=self._generator) * 0.1

    def agreement(self) -> tuple[float, float]:
        """Return the share of equal codes (random weights have near-ties), and how far samples differ."""
        theirs = self.released.encode(self.clip)
        same = torch.cat([(a == b)[0] for a, b in zip(self.codes, theirs, strict=True)])
        difference = self.released.decode(self.codes) - self.ours.decode(self.codes)
        return float(same.float().mean()), float(difference.abs().max())

    def figures(self, lengths: Sequence[int]) -> Iterator[Figure]:
        """Yield every length, direction and batch."""
        for length in lengths:
            clip = self.clips(length, 1)
            codes = self.ours.encode(clip)
            calls: dict[Direction, Callable[[], object]] = {
                "encode": partial(self.released.encode, clip),
                "decode": partial(self.released.decode, codes),
            }
            for direction in DIRECTIONS:
                ours = [self.call(direction, length, batch) for batch in BATCHES]
                released, *seconds = seconds_in_turn([calls[direction], *ours], RELEASED_BUDGET)
                for batch, one in zip(BATCHES, seconds, strict=True):
                    yield self._figure(direction, length, batch, one, released)

    def call(self, direction: Direction, length: int, batch: int) -> Callable[[], object]:
        """Our way over a batch."""
        clips = self.clips(length, batch)
        if direction == "encode":
            return partial(self.ours.encode, clips)
        codes = self.ours.encode(clips[:1])
        return partial(self.ours.decode, [layer.expand(batch, -1).contiguous() for layer in codes])

    def _figure(
        self, direction: Direction, length: int, batch: int, seconds: float, released: float
    ) -> Figure:
        floor = self._floor(direction, length, batch)
        return Figure(
            direction,
            length,
            batch,
            seconds / batch,
            released,
            floor,
            self._released_floor(direction, length),
        )

    def _floor(self, direction: Direction, length: int, batch: int) -> float:
        """Return a clip's share of its batch: each clip's operations, the weights read once for all."""
        read = size(self._weights(direction)) / batch
        return self.machine.floor(self._clip_operations(direction, length), read)

    def _released_floor(self, direction: Direction, length: int) -> float:
        """Count the same with each codebook projected, twice to encode and once to decode."""
        config, times = self.config, 2 if direction == "encode" else 1
        rows = times * sum(config.codebook_sizes)
        project = 2.0 * rows * config.codebook_dim * config.latent_dim
        read = size(self._weights(direction)) + rows * config.codebook_dim * 4
        return self.machine.floor(self._clip_operations(direction, length) + project, read)

    def _clip_operations(self, direction: Direction, length: int) -> float:
        """In proportion to the blocks of a second."""
        return self._operations[direction] * self._blocks(length) / self._blocks(1)

    def _blocks(self, length: int) -> int:
        return -(-length * self.config.sample_rate // self.config.block_length)

    def _weights(self, direction: Direction) -> list[Tensor]:
        """Return the weights that are read: encoding searches each codebook, decoding looks up a few rows."""
        if direction == "decode":
            return list(self.ours.decoder.parameters())
        return [*self.ours.encoder.parameters(), *(layer.directions for layer in self.ours.quantizer.layers)]


def other_figures(comparison: Comparison, other: OtherCodec) -> Iterator[OtherFigure]:
    """Time one codec of transformers on one second, and ours in turn with it."""
    calls: dict[Direction, Callable[[], object]] = {"encode": other.encode, "decode": other.decode}
    for direction, call in calls.items():
        floor = comparison.machine.floor(operations(call), size(other.weights(direction)))
        seconds, beside = seconds_in_turn([call, comparison.call(direction, 1, 1)], BUDGET)
        yield OtherFigure(other.name, direction, seconds, floor, beside)


def bars(figures: Sequence[Figure], others: Sequence[OtherFigure]) -> Iterator[tuple[str, bool]]:
    """Yield each bar with what was measured, and whether it was reached."""
    alone = {f.direction: f for f in figures if (f.length, f.batch) == (1, 1)}
    least_gains: dict[Direction, float] = {"encode": ENCODE_BAR, "decode": DECODE_BAR}
    for direction, bar in least_gains.items():
        if one := alone.get(direction):
            said = f"{direction} 1 s {one.speedup:.1f} times as fast as the released way, of {bar:.0f}"
            yield said, one.speedup >= bar
    for encodec in (other for other in others if (other.codec, other.direction) == ("EnCodec", "encode")):
        said = f"encode 1 s in {encodec.ours:.4f} s, EnCodec in turn with it in {encodec.seconds:.4f} s"
        yield said, encodec.ours <= encodec.seconds
    least = min(figures, key=lambda figure: figure.speedup)
    where = f"{least.direction} {least.length} s in batches of {least.batch}"
    yield f"least gain on the released way {least.speedup:.1f} times, {where}, of 1", least.speedup >= 1


def golden_line() -> str:
    """Return how the released way stands against the research code's own numbers, where they are."""
    if not (folder := os.environ.get("WORDWAVE_TEST_DATA")):
        return "released way against the research code's numbers: not checked, WORDWAVE_TEST_DATA is not set"
    same, largest = golden_difference(Path(folder).parent / "golden" / "codec")
    return (
        f"released way against the research code's numbers: {same:.2%} of codes, samples within {largest:.1e}"
    )


def main(lengths: Sequence[int]) -> None:
    """Print the tables, the bars and the JSON line."""
    machine = Machine.measured()
    print(f"Codecs of random weights on CPU ({machine})\n{golden_line()}", flush=True)
    comparison = Comparison(machine, CodecConfig())
    same, largest = comparison.agreement()
    print(f"ours against the released way: {same:.2%} of codes, samples within {largest:.1e}")
    print(f"  {'clip, batch':<18}{'ours s':>8}{'floor':>10}{'ratio':>8}", end="")
    print(f"{'released':>10}{'floor':>10}{'ratio':>8}{'gain':>8}   (seconds a clip)")
    figures = [_printed(figure) for figure in comparison.figures(lengths)]
    print("one second, one at a time, random weights in the default shape; ours in turn with each:")
    others = [_printed(figure) for make in OTHERS for figure in other_figures(comparison, make())]
    reached = list(bars(figures, others))
    print("\n".join(f"  {said} {verdict(passed)}" for said, passed in reached))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  peak memory {peak:.1f} GiB, all codecs in one process")
    said = {"benchmark": "codec", "machine": asdict(machine), "threads": torch.get_num_threads()}
    rows = {"figures": [asdict(f) for f in figures], "others": [asdict(f) for f in others]}
    checks = {"agreement": same, "largest_difference": largest, "peak_gib": peak, "bars": dict(reached)}
    print(json.dumps(said | rows | checks))


def _printed(figure: Measured) -> Measured:
    print(figure, flush=True)
    return figure


if __name__ == "__main__":
    main([int(length) for length in sys.argv[1:]] or LENGTHS)
