"""The device that models run on: how fast it is at best, how long a call takes there and what fits."""

import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch

from benchmarks.machine import best_seconds, seconds_per_call

MATRIX = 8192
READ_BYTES = 2**30
BUDGET = 2.0
"""Seconds that a figure may be measured for."""
DTYPES = ("bfloat16", "float32")

Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Device:
    """rates: operations per second of the matrix product by dtype, float32 without TF32. bandwidth: bytes
    per second that are read from memory, or read and written by a copy, whichever is more."""

    at: torch.device
    name: str
    rates: Mapping[str, float]
    bandwidth: float
    budget: float = field(default=BUDGET, kw_only=True)

    @classmethod
    def measured(
        cls, at: torch.device, *, matrix: int = MATRIX, read_bytes: int = READ_BYTES, budget: float = BUDGET
    ) -> "Device":
        """Return the best of several tries, so that nothing can pass it."""
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        name = torch.cuda.get_device_name(at) if at.type == "cuda" else str(at)
        rates = {dtype: _matrix_rate(at, getattr(torch, dtype), matrix) for dtype in DTYPES}
        return cls(at, name, rates, _bandwidth(at, read_bytes), budget=budget)

    def seconds(self, call: Callable[[], object]) -> float:
        """Return the median of the calls that fit in the budget, after one to warm up, each waited for."""
        waited = _waited(call, self.at)
        waited()  # what is loaded and chosen on the first call is no part of the next
        return seconds_per_call(waited, self.budget)

    def figures(self) -> dict[str, Any]:
        """Return what the JSON line has about it."""
        return asdict(self) | {"at": str(self.at), "torch": torch.__version__, "cuda": torch.version.cuda}

    def __str__(self) -> str:
        rates = ", ".join(f"{dtype} {rate / 1e12:.3g} TFLOP/s" for dtype, rate in self.rates.items())
        return f"{self.name}: {rates}, {self.bandwidth / 1e9:.0f} GB/s (measured)"


def free_bytes(at: torch.device) -> float:
    """Of the device's own memory; without end where it has none of its own."""
    if at.type != "cuda":
        return math.inf
    gc.collect()
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info(at)[0])


def if_it_fits(what: str, measure: Callable[[], Figure]) -> Figure | str:
    """Return the figure, or the line that says that the device has too little memory for it."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        reason = f"{what}: skipped, it does not fit the memory of the device"
    torch.cuda.empty_cache()
    return reason


def _waited(call: Callable[[], object], at: torch.device) -> Callable[[], None]:
    """Wait until the device is done: a GPU's calls return before that."""

    def done() -> None:
        call()
        if at.type == "cuda":
            torch.cuda.synchronize(at)

    return done


def _matrix_rate(at: torch.device, dtype: torch.dtype, width: int) -> float:
    a, b = (torch.randn(width, width, device=at).to(dtype) for _ in range(2))
    return 2 * width**3 / _best(lambda: a @ b, at)


def _bandwidth(at: torch.device, read_bytes: int) -> float:
    table = torch.ones(read_bytes // 4096, 1024, device=at)
    row, copy = torch.ones(1024, device=at), torch.empty_like(table)
    read = _best(lambda: table @ row, at)
    copied = _best(lambda: copy.copy_(table), at)
    return read_bytes / min(read, copied / 2)


def _best(call: Callable[[], object], at: torch.device) -> float:
    waited = _waited(call, at)
    waited()
    return best_seconds(waited)
