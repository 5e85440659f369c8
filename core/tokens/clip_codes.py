"""The codes of one clip as plain arrays, the interface between the codec and the language model.

A block of 0.24 s has 2 semantic codes, 4 codes of the first acoustic layer and 8 of the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.errors import AudioRejected, BadCodes

CODES_PER_BLOCK = (2, 4, 8)

AudioCodes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

Int16Array = npt.NDArray[np.int16]
Float16Array = npt.NDArray[np.float16]

MAX_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False, slots=True)
class ClipCodes:
    """The codes of a whole clip of m blocks, the level under each semantic code, and its pooled latent.

    semantic (2m,), acoustic1 (4m,), acoustic2 (8m,): int16 codes, coarse to fine. levels (2m,): int16, the
    level of the samples under each semantic code in tenths of a dB. latent (2, D): float16, mean and
    deviation over time of the codec's latents; None if unknown. Raises BadCodes for another type, a negative
    code or a wrong length.
    """

    semantic: Int16Array
    acoustic1: Int16Array
    acoustic2: Int16Array
    levels: Int16Array
    latent: Float16Array | None = None

    def __post_init__(self) -> None:
        for layer, codes in enumerate(self.layers):
            _check_array(f"layer {layer}", codes, CODES_PER_BLOCK[layer] * self.num_blocks)
            if codes.min() < 0:
                raise BadCodes(f"layer {layer} holds the code {codes.min()}: codes start at 0")
        _check_array("levels", self.levels, CODES_PER_BLOCK[0] * self.num_blocks)
        if self.latent is not None:
            _check_latent(self.latent)

    @property
    def layers(self) -> tuple[Int16Array, Int16Array, Int16Array]:
        """The three layers, coarse to fine."""
        return self.semantic, self.acoustic1, self.acoustic2

    @property
    def num_blocks(self) -> int:
        """Blocks of 0.24 s, at least 1."""
        return max(1, len(self.semantic) // CODES_PER_BLOCK[0])


def check_tokens(
    layers: Sequence[Sequence[int]], latent: Float16Array, codebook_sizes: Sequence[int]
) -> None:
    """Raise AudioRejected for codes outside the codebooks, or for an invalid latent.

    A latent that is not finite, or at the limit of half precision, comes from samples that no recording has.
    """
    if not (np.abs(latent) < MAX_FLOAT16).all() or (latent[1] < 0).any():
        raise AudioRejected("not_finite", "the codec's latents are not finite numbers in half precision")
    for layer, (codes, size) in enumerate(zip(layers, codebook_sizes, strict=True)):
        if wrong := [code for code in codes if not 0 <= code < size]:
            raise AudioRejected(
                "failed", f"layer {layer} holds the code {wrong[0]}, its codebook has codes 0 to {size - 1}"
            )


def _check_array(name: str, values: Int16Array, length: int) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != np.int16 or values.ndim != 1:
        raise BadCodes(f"{name} must be a one-dimensional int16 array, got {type(values).__name__}")
    if len(values) != length:
        raise BadCodes(
            f"{name} has {len(values)} values, expected {length}: a clip of m blocks has 2m semantic codes, "
            "4m and 8m acoustic ones, and 2m levels"
        )


def _check_latent(latent: Float16Array) -> None:
    if not isinstance(latent, np.ndarray) or latent.dtype != np.float16 or latent.shape[:-1] != (2,):
        raise BadCodes(f"latent must be a float16 array (2, D), got {getattr(latent, 'shape', latent)}")
    if not np.isfinite(latent).all() or (latent[1] < 0).any():
        raise BadCodes("latent holds a number that is not finite or a deviation under 0: tokenize again")
