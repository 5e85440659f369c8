"""A codec of transformers behind the interface of the LLM-Codec: waveform to layers of codes and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from core.codec.files.checkpoint import fingerprint
from core.codec.files.directory import check_words
from core.codec.model import EncodedClip
from core.codec.pooled_latent import frame_sums, pooled_latent
from core.codec.rvq.config import RvqConfig
from core.errors import BadCodes

PART_SECONDS = 30
"""Longer clips are encoded in parts of this length, each by itself, so that memory has a bound."""


class RvqCodec(ABC):
    """A codec of transformers. Each part of a clip is one pass, so its codes depend on no other clip."""

    def __init__(self, model: Any, config: RvqConfig, words: tuple[str, ...] = ()) -> None:
        check_words(words, config)
        self.config = config
        self.words = words
        self.model = model.eval().requires_grad_(False)
        self.fingerprint = fingerprint(model.state_dict(), config, words, torch.float32)
        self._layers = len(config.codebook_sizes)

    def to(self, device: str) -> "RvqCodec":
        """Move the model to a device; without TF32, which would change codes between devices."""
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def encode(self, waveform: Tensor) -> list[Tensor]:
        """Encode (B, 1, T) float32 to one int64 (B, T_l) tensor per layer, coarse to fine."""
        clips = self.encode_with_latents([row] for row in waveform[:, 0])
        return [torch.stack(layer) for layer in zip(*(clip.codes for clip in clips), strict=True)]

    def encode_with_latents(self, clips: Iterable[Iterable[Tensor]]) -> list[EncodedClip]:
        """Encode clips, each given as 1-D float32 pieces of any size, to codes and a pooled latent."""
        return [self._encode_clip(pieces) for pieces in clips]

    @torch.inference_mode()
    def _encode_clip(self, pieces: Iterable[Tensor]) -> EncodedClip:
        codes, sums, frames = [torch.zeros(self._layers, 0, dtype=torch.int64)], [], 0
        for part in cut_parts(pieces, PART_SECONDS * self.config.sample_rate):
            padded = functional.pad(part, (0, -len(part) % self.config.hop_length))
            length = len(padded) // self.config.hop_length
            found, latents = self._encode_part(padded.to(self.device)[None, None])
            codes.append(found[:, :length].cpu())
            sums.append(frame_sums(latents[:, :length].float().cpu().numpy()))
            frames += length
        layers = list(torch.cat(codes, dim=1).clone())
        return EncodedClip(layers, pooled_latent(sums, frames, self.config.latent_dim))

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor], seeds: Sequence[int] | None = None) -> Tensor:
        """Decode codes, one (B, T) tensor per layer, to (B, 1, T); nothing is drawn, so seeds do nothing."""
        if len(codes) != self._layers:
            raise BadCodes(f"{len(codes)} layers of codes, the codec has {self._layers}")
        rows = torch.stack([layer.to(self.device) for layer in codes], dim=1)
        return torch.cat([self._decode_row(row[None]) for row in rows])

    @abstractmethod
    def _encode_part(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (1, 1, T) to codes (layers, frames) int64 and latents (D, frames) before quantization."""

    @abstractmethod
    def _decode_row(self, codes: Tensor) -> Tensor:
        """Decode (1, layers, frames) to (1, 1, T)."""


def cut_parts(pieces: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    """Yield a clip that arrives in pieces in parts of `length` samples, of which the last may be shorter."""
    waiting = torch.zeros(0)
    for piece in pieces:
        waiting = torch.cat((waiting, piece))
        while len(waiting) >= length:
            yield waiting[:length]
            waiting = waiting[length:]
    if len(waiting):
        yield waiting
