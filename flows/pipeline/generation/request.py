"""The options of generated audio: the one place that gives their names, types, defaults, bounds and help."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from flows.pipeline.configuration.options import Option
from flows.pipeline.libraries.library_option import LIBRARY

AudioFormat = Literal["wav", "flac"]
DenoisingMethod = Literal["auto", "deepfilter", "in-context"]
METHOD = (
    "How noise is taken out. auto: by the method that is better on the library's pairs, and not at all where "
    "none is better than the noisy clips; in context where no denoiser is installed. deepfilter: by the "
    "installed denoiser. in-context: by the LLM, as the library's pairs show."
)
JUDGE = (
    "Let Whisper hear each answer: what it writes down and the share of wrong words stand beside the answer. "
    "Needs wordwave[judge]; without it the run says so and judges nothing."
)


@dataclass(frozen=True)
class AudioOptions:
    """The library to show, and how to draw an answer. Raises ValueError for a number that is not finite."""

    library: Annotated[str, LIBRARY]
    format: Annotated[AudioFormat, Option("File format of the audio, at 16 bits.")] = "wav"
    temperature: Annotated[
        float,
        Option(
            "0 always takes the most probable code; higher values leave more to chance.",
            ge=0,
            le=10,
        ),
    ] = 0.0
    top_p: Annotated[
        float,
        Option(
            "At a temperature above 0, draw from the most probable codes that add up to this probability.",
            gt=0,
            le=1,
        ),
    ] = 1.0
    seed: Annotated[
        int, Option("Seed of the random draws: the same seed gives the same audio.", ge=0, lt=2**31)
    ] = 0
    repeats: Annotated[int, Option("Extra passes of the prompt over its demonstrations.", ge=0, le=16)] = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):  # a command's bounds let nan pass
                raise ValueError(f"{name} must be a finite number, not {value}")

    def with_seconds(self, seconds: float) -> "AudioRequest":
        """Return the request for answers, or slices, of this length."""
        return AudioRequest(**vars(self), seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class AudioRequest(AudioOptions):
    """All that decides the answers, apart from the models.

    A text is answered with `seconds` of audio, and demonstrations are cut to that length. Noisy clips are
    answered in slices of that length, or as a whole if it is 0. Lengths are rounded to blocks of codes
    (0.24 s). The seed of each answer is derived from `seed`.
    """

    seconds: float
