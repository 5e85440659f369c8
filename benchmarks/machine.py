"""How fast this machine is at best, and what a computation must cost on it: the floor beside each figure."""

import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

READ_BYTES = 512 * 2**20
MATRIX = 2048


@dataclass(frozen=True)
class Machine:
    """Operations per second of the float32 matrix product, and bytes per second read from memory."""

    operations: float
    bandwidth: float

    @classmethod
    def measured(cls) -> "Machine":
        """Return the best of several tries, so that nothing can pass it."""
        a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
        table = torch.ones(READ_BYTES // 4096, 1024)
        row = torch.ones(1024)
        return cls(
            operations=2 * MATRIX**3 / best_seconds(lambda: a @ b),
            bandwidth=READ_BYTES / best_seconds(lambda: table @ row),
        )

    def floor(self, operations: float, read: float) -> float:
        """Seconds that the arithmetic or the reading must take, whichever is longer: they may overlap."""
        return max(operations / self.operations, read / self.bandwidth)

    def __str__(self) -> str:
        return (
            f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
            f"{self.operations / 1e9:.0f} GFLOP/s, {self.bandwidth / 1e9:.1f} GB/s"
        )


def best_seconds(call: Callable[[], object], repeats: int = 30) -> float:
    """Return the fastest of several calls."""
    return min(seconds_of(call) for _ in range(repeats))


def seconds_of(call: Callable[[], object]) -> float:
    """Of a single call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def seconds_per_call(call: Callable[[], object], budget: float) -> float:
    """Return the median of the calls that fit in `budget` seconds, after one to warm up.

    A call that takes longer than the budget is made once: it is long enough to have warmed up on its way.
    """
    first = seconds_of(call)
    if first > budget:
        return first
    return median(seconds_of(call) for _ in range(min(30, max(3, int(budget / first)))))


def seconds_in_turn(calls: Sequence[Callable[[], object]], budget: float) -> list[float]:
    """Return the medians of calls that take turns, so that other work on the machine slows them all alike.

    There are as many rounds as fit in `budget` seconds, at least three, after one to warm up.
    """
    first = sum(seconds_of(call) for call in calls)
    rounds = min(30, max(3, int(budget / first)))
    return [
        median(turns) for turns in zip(*([seconds_of(c) for c in calls] for _ in range(rounds)), strict=True)
    ]


def operations(call: Callable[[], object]) -> float:
    """Floating-point operations of a call's convolutions and products; what else it does is not counted.

    A CPU multiplies four bytes in the time of a float: a product of bytes counts as a quarter.
    """
    counted = {
        torch.ops.mkldnn._linear_pointwise: _product_operations,
        torch.ops.onednn.qlinear_pointwise: _byte_operations,
    }
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        call()
    return float(counter.get_total_flops())


def _product_operations(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    return 2 * math.prod(x) * weight[0]


def _byte_operations(*arguments: Any, **_: object) -> int:
    x, steps = arguments[0], arguments[4]
    return int(2 * math.prod(x) * steps[0] // 4)


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
