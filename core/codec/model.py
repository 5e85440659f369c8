"""The LLM-Codec: waveform to three layers of codes and back (paper, section 3.2)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.codec.chunking import WINDOW_BLOCKS, EncoderWindow, cut_windows
from core.codec.config import CodecConfig
from core.codec.files import checkpoint
from core.codec.files.directory import check_words
from core.codec.layers import WaveformDecoder, WaveformEncoder
from core.codec.mel import MelDecoder, MelEncoder
from core.codec.pooled_latent import Sums, frame_sums, pooled_latent
from core.codec.quantize import ResidualVectorQuantize
from core.errors import BadCodes
from core.tokens.clip_codes import Float16Array

if TYPE_CHECKING:  # what only the released blocks on a CPU need
    from core.codec.cpu.single_clip import SingleClipDecoder, SingleClipEncoder

Codes = NDArray[np.int64]

GPU_ROWS = 16
"""Rows of an encoder pass on a GPU, for windows of any length."""


@dataclass(frozen=True, eq=False, slots=True)
class EncodedClip:
    """Codes and pooled latent of a clip.

    codes: one int64 (T_l,) tensor per layer, coarse to fine. latent: (2, D) float16, mean and deviation over
    the frames that contain samples of the clip.
    """

    codes: list[Tensor]
    latent: Float16Array


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """Result of one window: codes from block `start`, and the sums of the latents over `frames`."""

    start: int
    codes: list[Codes]
    frames: int
    sums: Sums


class LLMCodec(nn.Module):
    """Encodes (B, 1, T) float32 at `config.sample_rate` into codes, coarse to fine, and decodes them."""

    def __init__(self, config: CodecConfig, words: tuple[str, ...] = ()) -> None:
        super().__init__()
        check_words(words, config)
        self.config = config
        self.words = words
        self.fingerprint = ""
        self.encoder = WaveformEncoder(config) if config.blocks == "waveform" else MelEncoder(config)
        self.quantizer = ResidualVectorQuantize(config)
        self.decoder = WaveformDecoder(config) if config.blocks == "waveform" else MelDecoder(config)
        self.eval().requires_grad_(False)

    @classmethod
    def from_directory(cls, path: Path | str, device: str = "cpu") -> "LLMCodec":
        """Load `config.json`, `model.safetensors` (released or our names) and, if present, `words.txt`.

        Raises CheckpointMismatch when a file is missing, or tensors, configuration and words do not fit.
        """
        config, tensors, words = checkpoint.read_directory(Path(path))
        codec = cls(config, words)
        codec.load_canonical(tensors)
        # TF32 would change codes between devices
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        return codec.to(device)

    def load_canonical(self, tensors: dict[str, Tensor]) -> None:
        """Load canonical tensors (core.codec.files.checkpoint) and set the fingerprint."""
        checkpoint.check_shapes(tensors, self.canonical())
        weights = {n: t for n, t in tensors.items() if not n.endswith(".table")}
        self.load_state_dict(weights, strict=False)
        for copied in ("_encode_one", "_decode_one"):
            self.__dict__.pop(copied, None)
        for index, layer in enumerate(self.quantizer.layers):
            layer.load_table(tensors[f"quantizer.quantizers.{index}.table"])
        self.fingerprint = checkpoint.fingerprint(tensors, self.config, self.words, torch.float32)

    def canonical(self) -> dict[str, Tensor]:
        """Return the canonical tensors of this model, with codebooks as projected tables."""
        state = self.state_dict()
        tensors = {n: t for n, t in state.items() if not n.endswith((".directions", ".lengths"))}
        for index, layer in enumerate(self.quantizer.layers):
            table = layer.directions * layer.lengths.unsqueeze(-1)
            tensors[f"quantizer.quantizers.{index}.table"] = table
        return tensors

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.quantizer.layers[0].lengths.device

    def encode(self, waveform: Tensor) -> list[Tensor]:
        """Encode (B, 1, T) float32 to one int64 (B, T_l) tensor per layer, coarse to fine.

        Pads with zeros on the right to a whole block. The codes of a row do not depend on the other rows.
        """
        if waveform.dim() != 3 or waveform.shape[1] != 1 or waveform.shape[2] == 0:
            raise ValueError(f"waveform is {tuple(waveform.shape)}, expected (B, 1, T) with T > 0")
        clips = self.encode_clips([row] for row in waveform[:, 0])
        return [torch.stack(layer) for layer in zip(*clips, strict=True)]

    def encode_clips(self, clips: Iterable[Iterable[Tensor]]) -> list[list[Tensor]]:
        """Return only the codes of `encode_with_latents`: one int64 (T_l,) tensor per layer and clip."""
        return [clip.codes for clip in self.encode_with_latents(clips)]

    @torch.inference_mode()
    def encode_with_latents(self, clips: Iterable[Iterable[Tensor]]) -> list[EncodedClip]:
        """Encode clips, each given as 1-D float32 pieces of any size, to codes and a pooled latent.

        Memory is bounded by windows, never by a clip. Codes and latent equal those of the whole clip at once,
        in any batch. An empty clip has no codes and a latent of zeros.
        """
        parts: list[list[_Part]] = []
        waiting: dict[int, list[tuple[int, EncoderWindow]]] = defaultdict(list)
        for index, pieces in enumerate(clips):
            parts.append([])
            for window in cut_windows(pieces, self.config.block_length):
                batch = waiting[len(window.samples)]
                batch.append((index, window))
                if len(batch) == self._rows(len(window.samples)):
                    self._encode_windows(waiting.pop(len(window.samples)), parts)
        for batch in waiting.values():
            self._encode_windows(batch, parts)
        return [self._join(clip) for clip in parts]

    def _encode_windows(self, batch: list[tuple[int, EncoderWindow]], parts: list[list[_Part]]) -> None:
        """Encode windows of equal length in one pass, filled up with silent rows so that shapes stay few."""
        samples = torch.stack([window.samples for _, window in batch])
        missing = self._rows(samples.shape[1]) - len(batch)
        samples = functional.pad(samples, (0, 0, 0, missing)).unsqueeze(1)
        z = self._latents(samples)
        # row by row in numpy: a small operation of torch waits for the other threads of the interpreter
        codes, latents = [layer.cpu().numpy() for layer in self.quantizer.encode(z)], z.float().cpu().numpy()
        for row, (index, window) in enumerate(batch):
            kept = [
                _kept(layer[row], window, per_block)
                for layer, per_block in zip(codes, self.config.codes_per_block, strict=True)
            ]
            frames = _kept(latents[row], window, self.config.block_frames)
            frames = frames[:, : frames.shape[1] - window.padding // self.config.hop_length]
            parts[index].append(_Part(window.start, kept, frames.shape[1], frame_sums(frames)))

    def _rows(self, num_samples: int) -> int:
        """Return the rows of a pass over windows of `num_samples`.

        The number is fixed, so that a clip's codes do not depend on its neighbors. On a CPU a pass of the mel
        blocks covers about as many samples as the longest window.
        """
        if self.device.type != "cpu":
            return GPU_ROWS
        return 1 if self._one_by_one else max(1, WINDOW_BLOCKS * self.config.block_length // num_samples)

    def _latents(self, samples: Tensor) -> Tensor:
        """Encode (B, 1, T) samples to (B, D, T / hop_length) latents."""
        if self._one_by_one:
            return torch.stack([self._encode_one(row) for row in samples[:, 0]])
        latents: Tensor = self.encoder(self._sent(samples))
        return latents

    def _sent(self, tensor: Tensor) -> Tensor:
        """Move a tensor to the device; through pinned memory for a GPU, so that the CPU does not wait."""
        if self.device.type == "cuda" and not tensor.is_cuda:
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _join(self, parts: list[_Part]) -> EncodedClip:
        """Join the windows of a clip, in any order, to one tensor per layer and one latent."""
        ordered = sorted(parts, key=lambda part: part.start)
        codes = [
            np.concatenate([np.zeros(0, np.int64), *(part.codes[layer] for part in ordered)])
            for layer in range(len(self.config.vq_strides))
        ]
        frames = sum(part.frames for part in ordered)
        latent = pooled_latent([part.sums for part in ordered], frames, self.config.latent_dim)
        return EncodedClip([torch.from_numpy(layer) for layer in codes], latent)

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor], seeds: Sequence[int] | None = None) -> Tensor:
        """Decode codes, one (B, T_l) tensor per layer, to a waveform (B, 1, T) of the padded length.

        Each row draws its noise from its own seed (None: seed 0 for each), in any batch.
        """
        rows = codes[0].shape[0] if codes else 0
        seeds = [0] * rows if seeds is None else seeds
        if len(seeds) != rows:
            raise BadCodes(f"{len(seeds)} seeds for {rows} rows of codes")
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        z_q = self.quantizer.decode([self._sent(layer) for layer in codes])
        if self._one_by_one and rows:
            return torch.stack([self._decode_one(*row) for row in zip(z_q, generators, strict=True)])[:, None]
        waveform: Tensor = self.decoder(z_q, generators)
        return waveform

    @property
    def _one_by_one(self) -> bool:
        """Whether rows are computed one at a time, as the released shape is on a CPU."""
        return self.device.type == "cpu" and self.config.blocks == "waveform" and self.config.depthwise

    @cached_property
    def _encode_one(self) -> "SingleClipEncoder":
        from core.codec.cpu.single_clip import SingleClipEncoder

        assert isinstance(self.encoder, WaveformEncoder)
        return SingleClipEncoder(self.encoder)

    @cached_property
    def _decode_one(self) -> "SingleClipDecoder":
        from core.codec.cpu.single_clip import SingleClipDecoder

        assert isinstance(self.decoder, WaveformDecoder)
        return SingleClipDecoder(self.decoder)


def _kept(steps: NDArray[Any], window: EncoderWindow, per_block: int) -> NDArray[Any]:
    """Return the (..., T) steps of a window that belong to the blocks it keeps."""
    return steps[..., window.keep.start * per_block : window.keep.stop * per_block]
