"""Matrix products of inference."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

ONEDNN_ROWS = range(4, 128)
"""Numbers of rows for which oneDNN is faster on every CPU; on Intel MKL is faster for fewer, and for more."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply (..., K) by (N, K) to (..., N), like a linear layer.

    In inference mode on a CPU, float32 uses oneDNN. Torch's default, MKL, takes twice as long for a few rows
    against a large table, and a sixth longer for many rows on CPUs other than Intel's. On Intel's it takes a
    tenth less for many rows, and a third less for one or two.
    """
    if weight.is_mkldnn or _goes_to_onednn(x):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    return functional.linear(x, weight, bias)


def pack_weight(weight: Tensor, rows: int) -> Tensor:
    """Return a copy of a weight for `product` on a CPU, laid out for about `rows` rows at a time.

    A large table is read a quarter faster. Without oneDNN it returns the weight itself.
    """
    if not _has_onednn():
        return weight
    copy: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return copy


def has_byte_products() -> bool:
    """Return whether int8 products are exact and fast: CPUs without VNNI add them up in too few bits."""
    return _has_onednn() and torch.cpu._is_vnni_supported()


def _goes_to_onednn(x: Tensor) -> bool:
    if not (x.is_cpu and x.dtype == torch.float32 and torch.is_inference_mode_enabled() and _has_onednn()):
        return False
    return x.shape[:-1].numel() in ONEDNN_ROWS or not _is_intel()


@cache
def _is_intel() -> bool:
    return str(torch.cpu.get_capabilities().get("cpu_name", "")).startswith("Intel")


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())
