"""The shape of a codec, as in the `config.json` of its directory."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import CheckpointMismatch

PREPROCESSING_VERSION = 1
"""Mono is the mean of the channels; windowed-sinc resampling, no change of loudness, zeros on the right."""

N_FFT = 1024
MEL_BANDS = 80
"""Of the log-mel frames that the mini codec reads."""


@dataclass(frozen=True)
class CodecConfig:
    """Shape of a codec; field names and defaults are those of the released code and configuration."""

    encoder_dim: int = 32
    encoder_rates: tuple[int, ...] = (3, 4, 5, 8)
    latent_dim: int = 512
    decoder_dim: int = 1536
    decoder_rates: tuple[int, ...] = (8, 5, 4, 3)
    vq_strides: tuple[int, ...] = (4, 2, 1)
    noise: bool = True
    depthwise: bool = True
    use_cblinear: bool = True
    attn_window_size: int = 8
    sample_rate: int = 16000
    codebook_sizes: tuple[int, ...] = (3248, 32000, 32000)
    codebook_dim: int = 4096
    blocks: Literal["waveform", "mel"] = "waveform"
    """`waveform`: the released convolutions over samples. `mel`: the mini codec's blocks at frame rate."""

    def __post_init__(self) -> None:
        if not self.use_cblinear:
            raise CheckpointMismatch("use_cblinear is false: only projected codebooks are supported")
        if len(self.codebook_sizes) != len(self.vq_strides):
            raise CheckpointMismatch(
                f"{len(self.codebook_sizes)} codebook sizes for {len(self.vq_strides)} vq strides"
            )
        if math.prod(self.encoder_rates) != math.prod(self.decoder_rates):
            raise CheckpointMismatch(
                f"encoder rates {self.encoder_rates} and decoder rates {self.decoder_rates} differ in product"
            )

    @classmethod
    def from_json(cls, path: Path) -> "CodecConfig":
        """Read `config.json`. Raises CheckpointMismatch for an unknown field."""
        values: dict[str, Any] = json.loads(path.read_text())
        known = cls.__dataclass_fields__
        if unknown := sorted(set(values) - set(known)):
            raise CheckpointMismatch(f"{path}: unknown fields {unknown}; known are {sorted(known)}")
        fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**fields)

    def to_json(self) -> str:
        """Return canonical JSON with sorted fields, so that equal configurations have equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.encoder_rates)

    @property
    def block_frames(self) -> int:
        """Frames per block: a multiple of the attention window and of every vq stride."""
        return math.lcm(self.attn_window_size, *self.vq_strides)

    @property
    def block_length(self) -> int:
        """Samples per block (3,840 in the released shape); waveforms are padded to a multiple of it."""
        return self.hop_length * self.block_frames

    @property
    def codes_per_block(self) -> tuple[int, ...]:
        """Codes of each layer per block, coarse to fine (2, 4, 8 in the released shape)."""
        return tuple(self.block_frames // stride for stride in self.vq_strides)
