"""Which vector of a large table has the largest cosine: a rough search in bytes leaves a few, and of these
the best is taken. What rounding can do is bounded, so the answer is that of a search in full precision.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.matmul import has_byte_products

MIN_TABLE_NUMBERS = 2**22
"""Numbers of a table from which on it pays: a small one stays in the caches as it is."""
MAX_CANDIDATES_PER_ROW = 256
"""Vectors that may be left for a row, on average, before a full search is as fast."""
INT8_STEPS, UINT8_ZERO = 127, 128
ROUNDING_SLACK = 1e-5
"""More than what float32 loses in sums of unit vectors."""

Cosines = NDArray[np.float32]


def uses_rough_search(directions: Tensor) -> bool:
    """Whether a table (N, D) should be."""
    return directions.is_cpu and directions.numel() >= MIN_TABLE_NUMBERS and has_byte_products()


class RoughSearch:
    """Over unit vectors (N, D), kept in bytes beside them: a quarter of what is read, and faster products."""

    def __init__(self, directions: Tensor) -> None:
        self._directions = directions
        self._steps = directions.abs().amax(dim=1).clamp(min=1e-12) / INT8_STEPS
        in_bytes = (directions / self._steps[:, None]).round()
        lost = directions - in_bytes * self._steps[:, None]
        self._lost = float(torch.linalg.vector_norm(lost, dim=1).max())
        self._zeros = torch.zeros(len(directions), dtype=torch.int32)
        self._table: Tensor = torch.ops.onednn.qlinear_prepack(in_bytes.to(torch.int8), None)

    def nearest(self, rows: Tensor) -> Tensor | None:
        """(R, D) to (R,) int64, the first of equal ones.

        None where a full search is as fast, or says what becomes of rows that are not finite.
        """
        unit = functional.normalize(rows)
        largest = float(unit.abs().max())
        if not math.isfinite(largest):
            return None
        rough, doubt = self._scores(unit, max(largest, 1e-12) / INT8_STEPS)
        reached = self._cosines(unit, rough.argmax(axis=1))
        left = np.flatnonzero(rough >= reached[:, None] - doubt)
        if len(left) > MAX_CANDIDATES_PER_ROW * len(rows):
            return None
        owners, codes = np.divmod(left, len(self._directions))
        cosines = self._cosines(unit[torch.from_numpy(owners)], codes)
        order = np.lexsort((codes, -cosines, owners))
        return torch.from_numpy(codes[order[np.searchsorted(owners, np.arange(len(rows)))]])

    def _cosines(self, unit: Tensor, codes: NDArray[np.int64]) -> Cosines:
        """The exact ones of unit vectors (R, D), each with the vector of its code (R,)."""
        cosines: Cosines = (unit * self._directions[torch.from_numpy(codes)]).sum(dim=1).numpy()
        return cosines

    def _scores(self, unit: Tensor, step: float) -> tuple[Cosines, Cosines]:
        """Rough cosines (R, N), and how far from the exact ones they can be (R, 1)."""
        in_bytes = (unit / step).round()
        lost = torch.linalg.vector_norm(unit - in_bytes * step, dim=1, keepdim=True)
        length = torch.linalg.vector_norm(in_bytes * step, dim=1, keepdim=True)
        rough = torch.ops.onednn.qlinear_pointwise(
            *((in_bytes + UINT8_ZERO).to(torch.uint8), step, UINT8_ZERO),
            *(self._table, self._steps, self._zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return rough.numpy(), (lost + length * self._lost + ROUNDING_SLACK).numpy()
