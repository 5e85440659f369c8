"""Features of a clip in memory: its codes and its log-mel statistics."""

import numpy as np
from torch import Tensor

from core.codec.clip_encoder import encode_clip_codes
from core.codec.files.opening import AnyCodec
from core.embeddings.log_mel import log_mel_statistics
from core.embeddings.log_mel_model import LOG_MEL
from core.in_context.features import ClipFeatures


def extract_features(codec: AnyCodec, waveform: Tensor) -> ClipFeatures:
    """Return codes with pooled latent and log-mel statistics of a waveform (1, 1, T) at 16 kHz."""
    samples = waveform[0, 0].numpy()
    (codes,) = encode_clip_codes(codec, [samples])
    return ClipFeatures(codes, {LOG_MEL: log_mel_statistics(samples).astype(np.float64)})
