"""Encoding of clips in memory to stored form: codes, levels and pooled latents."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from core.codec import EncodedClip
from core.codec.files.opening import AnyCodec
from core.decoding.audio_stream import Samples
from core.tokens.clip_codes import ClipCodes, Int16Array, code_array
from core.tokens.loudness import LevelMeter


def encode_with_meters(
    codec: AnyCodec, clips: Iterable[Iterable[Tensor]]
) -> list[tuple[EncodedClip, LevelMeter]]:
    """Encode clips, each given as 1-D float32 pieces, and measure their levels on the way."""
    config, meters = codec.config, list[LevelMeter]()

    def measured() -> Iterator[Iterator[Tensor]]:
        for pieces in clips:
            meters.append(LevelMeter(config.block_length // config.codes_per_block[0], config.block_length))
            yield meters[-1].measure(pieces)

    return list(zip(codec.encode_with_latents(measured()), meters, strict=True))


def encode_clip_codes(codec: AnyCodec, clips: Iterable[Samples]) -> list[ClipCodes]:
    """Return the codes, levels and pooled latents of clips, each (T,) float32 at the codec's rate."""
    encoded = encode_with_meters(codec, ([torch.from_numpy(clip)] for clip in clips))
    return [_clip_codes(codec, clip, meter.levels) for clip, meter in encoded]


def _clip_codes(codec: AnyCodec, clip: EncodedClip, levels: Int16Array) -> ClipCodes:
    layers = tuple(code_array(layer.numpy()) for layer in clip.codes)
    return ClipCodes(layers, levels, clip.latent, codec.config.codes_per_block)
