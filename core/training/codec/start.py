"""The start of a training from a codec that was trained before.

A codec's directory holds its codebooks projected, so the projections are found again from the codebooks that
the configuration names.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from core.codec.files.checkpoint import canonical, check_shapes, read_directory
from core.errors import CheckpointMismatch

TOLERANCE = 1e-3
"""Largest difference of a projected codebook to the one in the directory, relative to its deviation."""


def start_from(directory: Path, networks: nn.Module) -> None:
    """Give the networks a codec's weights. Raises CheckpointMismatch for another shape or other codebooks."""
    _, tensors, _ = read_directory(directory)
    state = networks.state_dict()
    check_shapes(tensors, canonical(state))
    found = {name: tensor for name, tensor in tensors.items() if name in state}
    for name in tensors.keys() - found.keys():
        layer = name.removesuffix(".table")
        weight, bias = projection(state[f"{layer}.codebook.weight"].cpu(), tensors[name])
        found |= {f"{layer}.cb_proj.weight": weight, f"{layer}.cb_proj.bias": bias}
    networks.load_state_dict(state | found)


def projection(codebook: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the linear layer that makes (N, D) of a codebook (N, codebook_dim)."""
    rows = torch.cat((codebook, torch.ones(len(codebook), 1)), dim=1).double()
    # gelsd: a codebook may have fewer rows than columns
    solved = torch.linalg.lstsq(rows, table.double(), driver="gelsd").solution
    off = float((rows @ solved - table).abs().max() / table.std())
    if off > TOLERANCE:
        raise CheckpointMismatch(
            f"a codebook to start from differs by {off:.2g} deviations from any projection of the one that "
            "is configured: name the embeddings and words that the codec was trained with, without update"
        )
    return solved[:-1].T.float(), solved[-1].float()
