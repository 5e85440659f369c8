"""The codes of one clip as plain arrays, the interface between the codec and the language model.

In the LLM-Codec a block of 0.24 s has 2 semantic codes, 4 codes of the first acoustic layer and 8 of the
second. Other codecs have other numbers of layers and of codes; their first layer is called semantic, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.errors import AudioRejected, BadCodes

CODES_PER_BLOCK = (2, 4, 8)

AudioCodes = tuple[tuple[int, ...], ...]

Int16Array = npt.NDArray[np.int16]
CodeArray = npt.NDArray[np.int16] | npt.NDArray[np.int32]
Float16Array = npt.NDArray[np.float16]

MAX_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False, slots=True)
class ClipCodes:
    """The codes of a whole clip of m blocks, the level under each semantic code, and its pooled latent.

    layers: codes coarse to fine, (per_block[l] * m,) each; int16, or int32 where a codebook is larger. levels
    (per_block[0] * m,): int16, the level of the samples under each semantic code in tenths of a dB. latent
    (2, D): float16, mean and deviation over time of the codec's latents; None if unknown. Raises BadCodes for
    another type, a negative code or a wrong length.
    """

    layers: tuple[CodeArray, ...]
    levels: Int16Array
    latent: Float16Array | None = None
    per_block: tuple[int, ...] = CODES_PER_BLOCK

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.per_block):
            raise BadCodes(f"{len(self.layers)} layers of codes, the codec has {len(self.per_block)}")
        for layer, codes in enumerate(self.layers):
            self._check_array(f"layer {layer}", codes, self.per_block[layer])
            if codes.min() < 0:
                raise BadCodes(f"layer {layer} holds the code {codes.min()}: codes start at 0")
        self._check_array("levels", self.levels, self.per_block[0])
        if self.latent is not None:
            _check_latent(self.latent)

    @property
    def semantic(self) -> CodeArray:
        """The first layer."""
        return self.layers[0]

    @property
    def num_blocks(self) -> int:
        """Blocks, of 0.24 s in the LLM-Codec; at least 1."""
        return max(1, len(self.semantic) // self.per_block[0])

    def _check_array(self, name: str, values: CodeArray, per_block: int) -> None:
        allowed = ("int16",) if name == "levels" else ("int16", "int32")
        if not isinstance(values, np.ndarray) or str(values.dtype) not in allowed or values.ndim != 1:
            found = getattr(values, "dtype", type(values).__name__)
            raise BadCodes(f"{name} must be a one-dimensional {' or '.join(allowed)} array, got {found}")
        if len(values) != per_block * self.num_blocks:
            raise BadCodes(
                f"{name} has {len(values)} values, expected {per_block * self.num_blocks}: a block has "
                f"{', '.join(map(str, self.per_block))} codes by layer, and levels like the first"
            )


def code_array(codes: npt.ArrayLike) -> CodeArray:
    """Return the codes of a layer as an array: int32 if one does not fit int16."""
    array = np.array(codes, np.int32)
    return array if array.max(initial=0) > np.iinfo(np.int16).max else array.astype(np.int16)


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


def _check_latent(latent: Float16Array) -> None:
    if not isinstance(latent, np.ndarray) or latent.dtype != np.float16 or latent.shape[:-1] != (2,):
        raise BadCodes(f"latent must be a float16 array (2, D), got {getattr(latent, 'shape', latent)}")
    if not np.isfinite(latent).all() or (latent[1] < 0).any():
        raise BadCodes("latent holds a number that is not finite or a deviation under 0: tokenize again")
