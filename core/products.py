"""Matrix products of inference."""

import torch
from torch import Tensor
from torch.nn import functional


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., K) times (N, K) to (..., N), as a linear layer.

    In inference mode float32 goes to oneDNN on a CPU: torch itself asks MKL, which on CPUs that are not
    Intel's takes a sixth longer for long rows, and twice as long for a few rows against a large table.
    """
    if weight.is_mkldnn or _goes_to_onednn(x):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    return functional.linear(x, weight, bias)


def packed(weight: Tensor, rows: int) -> Tensor:
    """A copy that `product` takes in place of a weight on a CPU, laid out for about so many rows at a time.

    A large table is read a quarter faster for it. Where there is no oneDNN it is the weight itself.
    """
    if not _has_onednn():
        return weight
    copy: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return copy


def has_byte_products() -> bool:
    """Whether products of bytes are exact and fast here: before VNNI, CPUs add them up in too few bits."""
    return _has_onednn() and torch.cpu._is_vnni_supported()


def _goes_to_onednn(x: Tensor) -> bool:
    return x.is_cpu and x.dtype == torch.float32 and torch.is_inference_mode_enabled() and _has_onednn()


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
