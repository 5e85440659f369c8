"""Features of a clip: its codes, and the vectors that baselines compare instead."""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.audio.resampling import pad_to_multiple
from core.codec import LLMCodec
from core.codec.clip_encoder import encode_clip_codes
from core.codec.mel import LogMel
from core.in_context.baselines import FloatArray
from core.tokens.clip_codes import ClipCodes


@dataclass(frozen=True)
class ClipFeatures:
    """Codes of a clip, and vectors (D,) by name."""

    codes: ClipCodes
    vectors: dict[str, FloatArray]


def extract_features(codec: LLMCodec, waveform: Tensor) -> ClipFeatures:
    """Return codes with pooled latent and log-mel statistics of a waveform (1, 1, T) at the codec's rate."""
    (codes,) = encode_clip_codes(codec, [waveform[0, 0].numpy()])
    padded = pad_to_multiple(waveform, codec.config.block_length)
    return ClipFeatures(codes, {"log-mel": mel_statistics(codec, padded)})


@torch.inference_mode()
def mel_statistics(codec: LLMCodec, padded: Tensor) -> FloatArray:
    """Return mean, deviation and deviation of the steps of the log-mel spectrum: (1, 1, T) to (3 bands,)."""
    mel = LogMel(codec.config.sample_rate, codec.config.hop_length // 2)(padded)[0].double()
    steps = mel.diff(dim=-1)
    return torch.cat((mel.mean(-1), mel.std(-1, correction=0), steps.std(-1, correction=0))).numpy()
