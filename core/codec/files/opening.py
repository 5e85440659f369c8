"""Opening of a codec's directory, whichever kind of codec it holds, and what all kinds have."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.codec.config import CodecConfig
from core.codec.files.directory import Shape, read_shape

if TYPE_CHECKING:  # torch takes seconds to import, which reading a shape need not wait for
    from torch import Tensor

    from core.codec.model import EncodedClip


class AnyCodec(Protocol):
    """What a night needs of a codec: the LLM-Codec, or one of transformers."""

    @property
    def config(self) -> Shape:
        """The shape."""

    @property
    def words(self) -> tuple[str, ...]:
        """The word of each code of the first layer; empty if the codec has none."""

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of tensors, configuration, words, preprocessing version and compute dtype."""

    def encode(self, waveform: "Tensor") -> "list[Tensor]":
        """Encode (B, 1, T) float32 to one int64 (B, T_l) tensor per layer, coarse to fine."""

    def encode_with_latents(self, clips: "Iterable[Iterable[Tensor]]") -> "list[EncodedClip]":
        """Encode clips, each given as 1-D float32 pieces of any size, to codes and a pooled latent."""

    def decode(self, codes: "Sequence[Tensor]", seeds: Sequence[int] | None = None) -> "Tensor":
        """Decode codes, one (B, T_l) tensor per layer, to a waveform (B, 1, T)."""


def open_codec(directory: Path, device: str = "cpu") -> AnyCodec:
    """Load the codec of a directory. Raises CheckpointMismatch when its files do not fit together."""
    if isinstance(read_shape(directory), CodecConfig):
        from core.codec.model import LLMCodec

        return LLMCodec.from_directory(directory, device)
    from core.codec.rvq.convert import read_codec

    return read_codec(directory).to(device)
