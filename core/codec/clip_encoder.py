"""Encoding of clips in memory to stored form: codes, levels and pooled latents."""

from collections.abc import Iterable

import numpy as np
import torch

from core.codec import EncodedClip, LLMCodec
from core.decoding.in_process import Samples
from core.tokens.clip_codes import ClipCodes, Int16Array
from core.tokens.loudness import LevelMeter


def encode_clip_codes(codec: LLMCodec, clips: Iterable[Samples]) -> list[ClipCodes]:
    """Return the codes, levels and pooled latents of clips, each (T,) float32 at the codec's rate."""
    samples = [torch.from_numpy(clip) for clip in clips]
    span = codec.config.block_length // codec.config.codes_per_block[0]
    meters = [LevelMeter(span, codec.config.block_length) for _ in samples]
    measured = (meter.measure([clip]) for meter, clip in zip(meters, samples, strict=True))
    encoded = codec.encode_with_latents(measured)
    return [_clip_codes(clip, meter.levels) for clip, meter in zip(encoded, meters, strict=True)]


def _clip_codes(clip: EncodedClip, levels: Int16Array) -> ClipCodes:
    semantic, acoustic1, acoustic2 = (layer.numpy().astype(np.int16) for layer in clip.codes)
    return ClipCodes(semantic, acoustic1, acoustic2, levels, clip.latent)
