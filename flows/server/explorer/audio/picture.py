"""A spectrogram as a PNG, on the scale of the clip's own loudest moment."""

import numpy as np
from numpy.typing import NDArray

from flows.pipeline.generation.page.pictures import Excerpt, Scale, mel_levels


def draw(samples: NDArray[np.float32], rate: int) -> bytes:
    """Return a PNG of mono samples, one pixel each 10 ms. Raises ValueError for no samples."""
    if not len(samples):
        raise ValueError("the clip ends before the part that is asked for")
    seconds = len(samples) / rate
    excerpt = Excerpt(b"", seconds, seconds, mel_levels(samples, rate))
    return Scale.of([excerpt]).png(excerpt)
