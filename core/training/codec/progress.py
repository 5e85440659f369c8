"""Progress of a training: codebook usage, losses, reconstructions as audio and picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.audio.picture import draw_levels, mel_levels
from core.audio.resampling import wav_bytes

USAGE_DECAY = 0.99
"""Weight of the past at each step: counts cover about the last hundred."""


class CodebookUsage:
    """Recent frequency of each code; `share` of codes in use and `perplexity`, one per layer."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.counts = [torch.zeros(size) for size in sizes]

    def update(self, codes: Sequence[Tensor]) -> None:
        """Count the codes of a step, one tensor of any shape per layer."""
        for counts, layer in zip(self.counts, codes, strict=True):
            fresh = torch.bincount(layer.flatten().cpu(), minlength=len(counts))
            counts.mul_(USAGE_DECAY).add_(fresh, alpha=1 - USAGE_DECAY)

    @property
    def share(self) -> list[float]:
        """Share of each layer's codes that were chosen in about the last hundred steps."""
        return [
            float((counts > (1 - USAGE_DECAY) * USAGE_DECAY**100).float().mean()) for counts in self.counts
        ]

    @property
    def perplexity(self) -> list[float]:
        """Number of equally frequent codes with the same entropy, for each layer."""
        shares = [counts / counts.sum().clamp(min=1e-12) for counts in self.counts]
        return [float((-(p * p.clamp(min=1e-12).log()).sum()).exp()) for p in shares]


def append_log(path: Path, step: int, losses: Mapping[str, float], usage: CodebookUsage) -> None:
    """Append a JSON line: step, each loss, share and perplexity of each layer."""
    rounded = {name: round(value, 5) for name, value in losses.items()}
    seen = {
        "usage": [round(v, 4) for v in usage.share],
        "perplexity": [round(v, 1) for v in usage.perplexity],
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **rounded, **seen}) + "\n")


def write_samples(folder: Path, original: Tensor, decoded: Tensor, sample_rate: int) -> None:
    """Write rows of (B, 1, T) as `N.wav`, original then decoded, and `N.png`, the original at the top."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (before, after) in enumerate(zip(original.cpu(), decoded.cpu(), strict=True)):
        both = torch.cat((before, after), dim=-1).clamp(-1, 1)
        (folder / f"{number}.wav").write_bytes(wav_bytes(both.unsqueeze(0), sample_rate))
        levels = [mel_levels(samples[0].numpy(), sample_rate) for samples in (after, before)]
        (folder / f"{number}.png").write_bytes(draw_levels(np.concatenate(levels)))
