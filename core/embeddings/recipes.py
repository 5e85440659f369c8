"""Known embedding models: what their files do not say of themselves."""

from dataclasses import dataclass

from core.embeddings.description import EmbeddingDescription
from core.embeddings.front_end import LogMel

YAMNET_FRAMES = LogMel(
    frames=96,
    frame_length=400,
    hop_length=160,
    fft_length=512,
    mel_bins=64,
    min_hz=125.0,
    max_hz=7500.0,
    log_offset=0.001,
)


@dataclass(frozen=True)
class Recipe:
    """How a file becomes a directory: a description that lacks what is read from the file."""

    description: EmbeddingDescription
    scores_are_logits: bool


YAMNET = Recipe(
    EmbeddingDescription(
        name="yamnet",
        kind="tagger",
        sample_rate=16_000,
        window=15_600,
        hop=7_680,
        front_end=YAMNET_FRAMES,
        input="",
        embedding="embedding",
        scores="scores",
        classes=(),
        dimensions=0,
        license="Apache-2.0",
        source="YAMNet, AudioSet classes, of the TensorFlow models",
        sha256="",
    ),
    scores_are_logits=True,
)

RECIPES = {"yamnet": YAMNET}
