"""Progress of a training: time, codebook usage, losses, reconstructions as audio and picture."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.audio.picture import draw_levels, mel_levels
from core.audio.resampling import wav_bytes

SHARE_TO_SAVE = 0.05
"""Share of a leg that is kept for the last checkpoint."""
UNFINISHED = 75
"""Exit status of a leg that ends before the training: EX_TEMPFAIL of sysexits.h, to be tried again."""
USAGE_DECAY = 0.99
"""Weight of the past at each step: counts cover about the last hundred."""


class Unfinished(Exception):
    """A training whose leg is over before it is done; its checkpoint is written."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(
            f"not done yet: the time is over at step {step:,} of {steps:,}, with a checkpoint. "
            "Start the same command again to go on"
        )


class Leg:
    """The time of one start of a training, which begins with this object (None: without end)."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes * (1 - SHARE_TO_SAVE)

    @property
    def is_over(self) -> bool:
        """Return whether it is time for the last checkpoint."""
        return self._end is not None and time.monotonic() >= self._end


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
