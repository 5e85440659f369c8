"""The shape of a codec of transformers, as in the `config.json` of its converted directory."""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RvqConfig:
    """Shape of a codec with one frame rate; each frame has a code of every layer.

    family: the model type of transformers. architecture: its configuration there. A block is one frame, and
    waveforms are padded to whole frames.
    """

    family: str
    sample_rate: int
    hop_length: int
    codebook_sizes: tuple[int, ...]
    latent_dim: int
    architecture: dict[str, Any]

    def to_json(self) -> str:
        """Return canonical JSON with sorted fields, so that equal configurations have equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @property
    def block_length(self) -> int:
        """Samples per block."""
        return self.hop_length

    @property
    def codes_per_block(self) -> tuple[int, ...]:
        """Codes of each layer per block, coarse to fine."""
        return (1,) * len(self.codebook_sizes)
