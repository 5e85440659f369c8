"""Which of a few spoken words a clip says: the judge of generated speech, made where it is needed.

A multinomial logistic regression over a grid of log-mel energies: what is heard of a clip, its silent ends
left out, is divided into stretches of equal length. It is fitted in seconds to recorded words and their texts
and never shipped. Words as a codec gives them back must be among those it is fitted to, or it judges the
codec's sound instead of what is said.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from core.audio.spectrogram import mel_filters, power_frames

SAMPLE_RATE = 16_000
N_FFT, HOP = 512, 160
BANDS, STRETCHES = 24, 12
HEARD = 30.0
"""Before and behind the frames within this many dB of the loudest one a word is not looked for."""
RANGE = 50.0
"""Energies this many dB under the greatest one, and what is below, are alike."""
PENALTY = 1e-3
"""Of the weights' squares. A third or three times of it made less than a point of 100 on held-out digits."""
STEPS = 200


class DigitRecogniser:
    """Answers with one of the texts that it was fitted to, silence too."""

    def __init__(self, texts: tuple[str, ...], mean: Tensor, spread: Tensor, weights: Tensor) -> None:
        self.texts = texts
        self._mean, self._spread, self._weights = mean, spread, weights

    @classmethod
    def fit(cls, waveforms: Sequence[Tensor], texts: Sequence[str]) -> "DigitRecogniser":
        """From one mono waveform, (T,) or (1, 1, T) float32 at 16 kHz, for each text.

        The same clips give the same recogniser. Raises ValueError for unequal numbers of them and for fewer
        than two different texts.
        """
        known = tuple(sorted(set(texts)))
        if len(waveforms) != len(texts) or len(known) < 2:
            raise ValueError(
                f"{len(waveforms)} waveforms and {len(texts)} texts, {len(known)} of them different, fit no "
                "recogniser: give a text to each waveform, and at least 2 different ones"
            )
        grids = torch.stack([_grid(waveform) for waveform in waveforms])
        # a band that never changes says nothing
        mean, spread = grids.mean(0), grids.std(0, correction=0).clamp(min=1e-3)
        said = torch.tensor([known.index(text) for text in texts])
        return cls(known, mean, spread, _fit(_rows(grids, mean, spread), said, len(known)))

    def recognize(self, waveforms: Sequence[Tensor]) -> list[str]:
        """Return what each waveform, (T,) or (1, 1, T) float32 at 16 kHz, most probably says."""
        if not waveforms:
            return []
        grids = torch.stack([_grid(waveform) for waveform in waveforms])
        best = (_rows(grids, self._mean, self._spread) @ self._weights).argmax(1)
        return [self.texts[index] for index in best.tolist()]


def _grid(waveform: Tensor) -> Tensor:
    """(BANDS * STRETCHES + 1,) float64: energies in units of RANGE below the greatest one, and seconds."""
    if waveform.shape[-1] != waveform.numel() or not waveform.numel():
        raise ValueError(f"one mono waveform is needed, got shape {tuple(waveform.shape)}")
    energies = _mel_energies(waveform.detach().cpu().reshape(-1).double())
    loudness = 10.0 * energies.sum(0).log10()
    heard = (loudness >= loudness.max() - HEARD).nonzero().flatten()
    decibels = 10.0 * energies[:, heard[0] : heard[-1] + 1].log10()
    below = (decibels - decibels.max()).clamp(min=-RANGE) / RANGE
    stretches = functional.adaptive_avg_pool1d(below.unsqueeze(0), STRETCHES).flatten()
    return torch.cat((stretches, torch.tensor([below.shape[1] * HOP / SAMPLE_RATE], dtype=torch.float64)))


def _mel_energies(samples: Tensor) -> Tensor:
    """(BANDS, frames)."""
    window = torch.hann_window(N_FFT, dtype=samples.dtype)
    filters = mel_filters(SAMPLE_RATE, N_FFT, BANDS).to(samples.dtype)
    energies: Tensor = (filters @ power_frames(samples, N_FFT, HOP, window)).clamp(min=1e-12)
    return energies


def _rows(grids: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Standardized, with a one behind each for the bias."""
    return functional.pad((grids - mean) / spread, (0, 1), value=1.0)


def _fit(rows: Tensor, said: Tensor, count: int) -> Tensor:
    """(D, count): the weights of greatest likelihood under the penalty, which the bias is free of."""
    weights = torch.zeros(rows.shape[1], count, dtype=rows.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        penalty = PENALTY * weights[:-1].square().sum()
        total = functional.cross_entropy(rows @ weights, said) + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach()
