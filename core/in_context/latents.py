"""Similarity of whole clips: the cosine of their pooled latents, mean and deviation concatenated.

Nothing is fitted. The codec itself compares latents by their direction. On rule-made classes and spoken
digits the plain cosine separated classes as well as standardizing by the statistics of a bank or the
codebook, by the within-clip deviations, or Euclidean distance. So the similarity of two clips is the same in
every library, however small.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.errors import PromptError
from core.in_context.row_products import row_products
from core.prompts.demonstrations import LabeledClip
from core.tokens.clip_codes import ClipCodes, Float16Array

Cosines = npt.NDArray[np.float64]


class NearestLatent:
    """Similarity of clips to the demonstrations by pooled latent.

    Raises PromptError for clips without one.
    """

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
        self._shown = _directions([demonstration.codes for demonstration in demonstrations])
        labels_of_shots = [demonstration.label for demonstration in demonstrations]
        self._columns = [[at for at, one in enumerate(labels_of_shots) if one == label] for label in labels]

    def similarities(self, queries: Sequence[ClipCodes]) -> Cosines:
        """Return (queries, labels): similarity to the nearest demonstration of each label, -1 to 1."""
        cosines = self._cosines(queries)
        return np.stack([cosines[:, columns].max(axis=1) for columns in self._columns], axis=1)

    def nearest(self, query: ClipCodes, shots: int) -> tuple[int, ...]:
        """Return the numbers of the `shots` demonstrations of each label nearest to the query, ascending.

        Of equally near demonstrations the first ones are taken.
        """
        (cosines,) = self._cosines([query])
        order = [sorted(columns, key=lambda at: -cosines[at])[:shots] for columns in self._columns]
        return tuple(sorted(at for numbers in order for at in numbers))

    def _cosines(self, queries: Sequence[ClipCodes]) -> Cosines:
        # rounded, so that equal demonstrations are equally near
        cosines: Cosines = row_products(_directions(queries), self._shown.T).round(12)
        return cosines


def known_latent(clip: ClipCodes) -> Float16Array:
    """Return the clip's pooled latent. Raises PromptError if it has none."""
    if clip.latent is None:
        raise PromptError("a clip has no pooled latent, only codes: tokenize it again")
    return clip.latent


def _directions(clips: Sequence[ClipCodes]) -> Cosines:
    """Return unit vectors (clips, 2 D); a latent of zeros stays zero and is similar to nothing."""
    rows = np.stack([known_latent(clip).reshape(-1) for clip in clips]).astype(np.float64)
    directions: Cosines = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return directions
