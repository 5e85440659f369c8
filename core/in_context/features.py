"""What is known of a clip, as all labelers compare it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.in_context.baselines import FloatArray
from core.tokens.clip_codes import ClipCodes


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Codes of a clip with its pooled latent, and its embeddings (D,) by name: log-mel and installed models'.

    scores (classes,): of each tagger by name, the mean score of its classes.
    """

    codes: ClipCodes
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
