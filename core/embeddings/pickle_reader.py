"""A process that reads a pickle of tensors, and nothing else: `python -m core.embeddings.pickle_reader`.

Whoever trusts no pickle lets this process read it, with torch's loader of weights alone, and takes the
tensors that it writes as safetensors.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from core.errors import CheckpointMismatch


def read_pickle(source: Path, output: Path) -> None:
    """Have the tensors of a pickle written to a safetensors file. Raises CheckpointMismatch."""
    command = [sys.executable, "-m", "core.embeddings.pickle_reader", str(source), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"its reader ended with {done.returncode}"]
        raise CheckpointMismatch(f"{source} cannot be read as weights: {said[-1]}")


def _tensors(found: Any) -> dict[str, Any]:
    """Return the tensors of a state dict, or of the one that a checkpoint holds."""
    import torch

    state = found.get("model_state", found) if isinstance(found, dict) else None
    if not isinstance(state, dict):
        sys.exit(f"it holds a {type(found).__name__}, a dict of tensors is needed")
    return {name: one.contiguous() for name, one in state.items() if isinstance(one, torch.Tensor)}


def main(source: str, output: str) -> None:
    """Read one file, write the other."""
    import torch
    from safetensors.torch import save_file

    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can fail in every way
        sys.exit(f"it holds more than tensors, or is damaged ({type(error).__name__})")
    save_file(_tensors(found), output)


if __name__ == "__main__":
    main(*sys.argv[1:])
