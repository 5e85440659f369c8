"""Nearest vector of a large table by cosine, found in int8 and confirmed in float32.

The int8 search leaves a few candidates, of which the best is taken. The rounding error is bounded, so the
result equals that of a search in full precision.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.matmul import has_byte_products

MIN_TABLE_NUMBERS = 2**22
"""Table size from which the rough search pays; a smaller table stays in the CPU caches as it is."""
MAX_CANDIDATES_PER_ROW = 256
"""Average number of candidates above which a full search is as fast."""
INT8_STEPS, UINT8_ZERO = 127, 128
ROUNDING_SLACK = 1e-5
"""Upper bound of the error of float32 sums of unit vectors."""

Cosines = NDArray[np.float32]


def uses_rough_search(directions: Tensor) -> bool:
    """Tell whether a table (N, D) is large enough, on a CPU with exact int8 products."""
    return directions.is_cpu and directions.numel() >= MIN_TABLE_NUMBERS and has_byte_products()


class RoughSearch:
    """Search over unit vectors (N, D) with an int8 copy: a quarter of the memory, and faster products."""

    def __init__(self, directions: Tensor) -> None:
        self._directions = directions
        self._steps = directions.abs().amax(dim=1).clamp(min=1e-12) / INT8_STEPS
        in_bytes = (directions / self._steps[:, None]).round()
        lost = directions - in_bytes * self._steps[:, None]
        self._lost = float(torch.linalg.vector_norm(lost, dim=1).max())
        self._zeros = torch.zeros(len(directions), dtype=torch.int32)
        self._table: Tensor = torch.ops.onednn.qlinear_prepack(in_bytes.to(torch.int8), None)

    def nearest(self, rows: Tensor) -> Tensor | None:
        """Return for (R, D) rows the index (R,) int64 of the nearest vector, the first of equal ones.

        Returns None when a full search is as fast, or when a row is not finite (the full search defines the
        result).
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
        """Return the exact cosines (R,) of unit vectors (R, D) with the vectors of their codes (R,)."""
        cosines: Cosines = (unit * self._directions[torch.from_numpy(codes)]).sum(dim=1).numpy()
        return cosines

    def _scores(self, unit: Tensor, step: float) -> tuple[Cosines, Cosines]:
        """Return rough cosines (R, N) and the bound of their error (R, 1)."""
        in_bytes = (unit / step).round()
        lost = torch.linalg.vector_norm(unit - in_bytes * step, dim=1, keepdim=True)
        length = torch.linalg.vector_norm(in_bytes * step, dim=1, keepdim=True)
        rough = torch.ops.onednn.qlinear_pointwise(
            *((in_bytes + UINT8_ZERO).to(torch.uint8), step, UINT8_ZERO),
            *(self._table, self._steps, self._zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return rough.numpy(), (lost + length * self._lost + ROUNDING_SLACK).numpy()
