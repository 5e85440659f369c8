"""Metrics of answers, and of generated audio against a reference.

Audio is a reference and an estimate of equal length: one mono waveform each, (T,) or (1, 1, T) float32, at
`sample_rate`.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.audio.resampling import resample_blocks
from core.audio.spectrogram import mel_filters, power, power_frames
from core.training.codec.losses import FULL_BAND, STFTLoss

ECE_BINS = 15

MEL_BANDS, MEL_FFT, MEL_HOP, MEL_FLOOR = 64, 1024, 256, 1e-5

STOI_RATE = 10_000
STOI_FRAME, STOI_HOP, STOI_FFT = 256, 128, 512
STOI_BANDS, STOI_LOWEST = 15, 150.0
"""Center in Hz of the lowest of 15 third-octave bands."""
STOI_SEGMENT = 30
"""Frames that are compared at once: 384 ms."""
STOI_RANGE = 40.0
"""Frames of the reference more than this many dB below its loudest are removed from both signals."""
STOI_CLIP = 1.0 + 10.0 ** (15.0 / 20.0)
"""Largest ratio of a band of the estimate to the reference: a distortion of -15 dB."""


def accuracy(answers: Sequence[str], gold: Sequence[str]) -> float:
    """Return the share of right answers. Raises ValueError for no answers, or unequal lengths."""
    _check_lengths(len(answers), len(gold))
    return sum(answer == right for answer, right in zip(answers, gold, strict=True)) / len(gold)


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """Return the expected calibration error, 0 to 1 (Guo et al. 2017).

    confidences: the probability of each answer. Answers are put in 15 bins of equal width by confidence; the
    error is the mean over bins of |confidence - accuracy|, weighted by their answers. Raises ValueError for
    no answers, or unequal lengths.
    """
    _check_lengths(len(confidences), len(correct))
    promised = np.asarray(confidences, dtype=np.float64)
    kept: npt.NDArray[np.float64] = np.asarray(correct, dtype=np.float64)
    bins = np.clip(np.ceil(promised * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=promised - kept, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(promised))


def si_sdr(reference: Tensor, estimate: Tensor) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), without the means.

    Infinite for a scaled copy, minus infinite for silence. Raises ValueError for a silent reference.
    """
    wanted, distorted = (signal - signal.mean() for signal in _pair(reference, estimate))
    energy = float(wanted @ wanted)
    if not energy:
        raise ValueError("the reference is silent: choose another one")
    target = (float(distorted @ wanted) / energy) * wanted
    kept, lost = float(target @ target), float((distorted - target) @ (distorted - target))
    if not kept:
        return -math.inf
    return 10.0 * math.log10(kept / lost) if lost > 1e-20 * kept else math.inf


def mel_distance(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the mean absolute difference of 64 log-mel bands in dB; levels are floored at -100 dB."""
    one, other = (_mel_decibels(signal, sample_rate) for signal in _pair(reference, estimate))
    return float((one - other).abs().mean())


def stft_loss(reference: Tensor, estimate: Tensor) -> float:
    """Return spectral convergence + L1 of log magnitudes, each averaged over the scales of the paper's code.

    FFT of 512, 1024, 2048 samples, hop 120, 240, 300, window 480, 960, 1200 (the released training code),
    meant for 16 kHz. The paper's Table 1 is probably measured like this; it does not say. Raises ValueError
    for fewer samples than half the longest FFT.
    """
    one, other = (signal.float().unsqueeze(0) for signal in _pair(reference, estimate))
    if one.shape[-1] <= (shortest := max(size for size, _, _ in FULL_BAND) // 2):
        raise ValueError(f"{one.shape[-1]} samples are too few for an STFT loss: give over {shortest}")
    return float(STFTLoss(FULL_BAND)(other, one))


def pesq(reference: Tensor, estimate: Tensor, sample_rate: int) -> float | None:
    """Return wide-band PESQ (ITU-T P.862.2) at 16 kHz, from 1.04 to 4.64; None if it finds no speech.

    Raises ImportError without the package `pesq`, ValueError at another rate.
    """
    import pesq as itu  # a compiled package, which only measuring needs

    if sample_rate != 16_000:
        raise ValueError(f"wide-band PESQ is defined at 16000 Hz, got {sample_rate}: resample first")
    one, other = (signal.float().numpy() for signal in _pair(reference, estimate))
    try:
        return float(itu.pesq(sample_rate, one, other, "wb"))
    except (itu.NoUtterancesError, itu.BufferTooShortError):
        return None


def stoi(reference: Tensor, estimate: Tensor, sample_rate: int) -> float | None:
    """Return the short-time objective intelligibility (Taal et al. 2011), about 0 to 1.

    None when less than 384 ms of the reference are within 40 dB of its loudest frame.
    """
    signals = [_at_stoi_rate(signal, sample_rate) for signal in _pair(reference, estimate)]
    if len(signals[0]) <= STOI_FRAME:
        return None
    one, other = (_third_octaves(signal) for signal in _without_silence(*signals))
    if one.shape[1] < STOI_SEGMENT:
        return None
    # (bands, segments, STOI_SEGMENT)
    x, y = one.unfold(1, STOI_SEGMENT, 1), other.unfold(1, STOI_SEGMENT, 1)
    y = y * (_norm(x) / _norm(y))
    y = torch.minimum(y, x * STOI_CLIP)
    x, y = (segment - segment.mean(-1, keepdim=True) for segment in (x, y))
    return float((x / _norm(x) * y / _norm(y)).sum(-1).mean())


def _pair(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Return both signals as (T,) float64 on the CPU."""
    for signal in (reference, estimate):
        if signal.shape[-1] != signal.numel() or not signal.numel():
            raise ValueError(f"expected one mono waveform, got shape {tuple(signal.shape)}")
    if reference.numel() != estimate.numel():
        raise ValueError(
            f"the reference has {reference.numel()} samples, the estimate {estimate.numel()}: cut one of them"
        )
    one, other = (signal.detach().cpu().reshape(-1).double() for signal in (reference, estimate))
    return one, other


def _mel_decibels(samples: Tensor, sample_rate: int) -> Tensor:
    """Return log-mel bands in dB, (bands, frames)."""
    window = torch.hann_window(MEL_FFT, dtype=samples.dtype)
    magnitudes = power_frames(samples, MEL_FFT, MEL_HOP, window).sqrt()
    filters = mel_filters(sample_rate, MEL_FFT, MEL_BANDS).to(samples.dtype)
    decibels: Tensor = 20.0 * (filters @ magnitudes).clamp(min=MEL_FLOOR).log10()
    return decibels


def _at_stoi_rate(samples: Tensor, sample_rate: int) -> Tensor:
    blocks = resample_blocks([samples.float().numpy()], sample_rate, STOI_RATE)
    return torch.from_numpy(np.concatenate(list(blocks))).double()


def _without_silence(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Return both signals without the reference's quiet frames, by overlap-add of the others."""
    frames = [_stoi_frames(signal) for signal in (reference, estimate)]
    loudness = 20.0 * (torch.linalg.vector_norm(frames[0], dim=1) + 1e-12).log10()
    loud = loudness > loudness.max() - STOI_RANGE
    one, other = (_overlap_add(frame[loud]) for frame in frames)
    return one, other


def _overlap_add(frames: Tensor) -> Tensor:
    """Join (N, STOI_FRAME) frames at steps of half a frame to samples."""
    samples = frames.new_zeros((len(frames) + 1) * STOI_HOP)
    samples[:-STOI_HOP] += frames[:, :STOI_HOP].reshape(-1)
    samples[STOI_HOP:] += frames[:, STOI_HOP:].reshape(-1)
    return samples


def _third_octaves(samples: Tensor) -> Tensor:
    """Return the amplitudes of third-octave bands, (bands, frames)."""
    spectrum = torch.fft.rfft(_stoi_frames(samples), STOI_FFT).T
    hertz = torch.arange(STOI_FFT // 2 + 1) * (STOI_RATE / STOI_FFT)
    middles = STOI_LOWEST * 2.0 ** (torch.arange(STOI_BANDS, dtype=torch.float64) / 3)
    # a band begins and ends at the nearest bins
    edges = [(middles * 2.0 ** (side / 6)).unsqueeze(1) for side in (-1, 1)]
    first, last = ((hertz - edge).abs().argmin(1, keepdim=True) for edge in edges)
    bins = torch.arange(len(hertz))
    bands = ((bins >= first) & (bins < last)).to(samples.dtype)
    amplitudes: Tensor = (bands @ power(spectrum)).sqrt()
    return amplitudes


def _stoi_frames(samples: Tensor) -> Tensor:
    """Return frames (frames, STOI_FRAME) with a Hann window that has no zeros."""
    window = torch.hann_window(STOI_FRAME + 2, periodic=False, dtype=torch.float64)[1:-1]
    return samples[:-1].unfold(0, STOI_FRAME, STOI_HOP) * window  # cut as the authors' code does


def _norm(segments: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(segments, dim=-1, keepdim=True)
    return norm + 1e-12


def _check_lengths(answers: int, gold: int) -> None:
    if answers != gold or not answers:
        raise ValueError(f"{answers} answers for {gold} right ones: the numbers must be equal and above 0")
