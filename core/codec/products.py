"""Matrix products of inference: no gradients."""

import torch
from torch import Tensor
from torch.nn import functional


def product(x: Tensor, weight: Tensor) -> Tensor:
    """(M, K) times (N, K) to (M, N), as a linear layer without bias.

    On a CPU by oneDNN where torch has it: torch itself asks MKL, which takes up to twice as long for a few
    rows against a large table on CPUs that are not Intel's.
    """
    if x.is_cpu and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        return out
    return functional.linear(x, weight)
