"""Checkpoints of a training: written completely or not at all, and read back to resume."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, parts: Mapping[str, Any], **values: Any) -> None:
    """Write the states of the parts (networks and optimizers) and other values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({name: part.state_dict() for name, part in parts.items()} | values, partial)
    partial.replace(path)


def load_checkpoint(path: Path, parts: Mapping[str, Any], device: str = "cpu") -> dict[str, Any]:
    """Restore the parts from a checkpoint; return all that it holds."""
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state
