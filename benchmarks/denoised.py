"""Denoising: noisy clips answered slice by slice, beside what the codec alone makes of either clip."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks.audio_answers import Models
from benchmarks.held_out import held_out
from benchmarks.means import Mean, mean_of
from benchmarks.reconstruction import has_pesq
from benchmarks.recorded import DataRow, manifest, verdict, waveforms
from core.audio.denoiser import denoise_at
from core.audio.resampling import read_waveform, resample_blocks
from core.evaluation.metrics import mel_distance, pesq, si_sdr, stft_loss, stoi
from core.in_context.audio_generator import denoise
from core.in_context.baselines import FloatArray
from core.prompts.generation import Example
from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes, ClipCodes
from core.tokens.window import cut_window, loudest_window

SLICE_BLOCKS = 2
SHOTS = 4
REPEATS = 0
"""How often the pairs come again; the paper repeats its four pairs four times."""
SEED = 2026
LOUD = (0.0, 5.0)
"""Signal-to-noise ratios in dB at which the mel distance should fall."""

FILTERED = "answer of the denoiser"
INPUT, FLOOR, OURS, CEILING = "noisy input", "codec of noisy (floor)", "answer", "codec of clean (ceiling)"
MEL = "mel dB"
PAPER = "paper (LLAMA 2 7B, VCTK with NoiseX-92 at -20 to 20 dB): PESQ 2.17, STOI 0.57"


@dataclass(frozen=True, eq=False)
class Pair:
    """A noisy clip and its clean one, (T,) each; clean_sha256 and noise name what they were made of.

    filtered is the denoiser's answer, None without one. snr in dB, None for a pair as it was recorded;
    held_out: the LLM never learned from the clean clip.
    """

    noisy: Tensor
    clean: Tensor
    filtered: Tensor | None
    noisy_codes: ClipCodes
    clean_codes: ClipCodes
    snr: float | None
    speaker: str
    clean_sha256: str
    noise: str | None
    held_out: bool
    is_digit: bool


@dataclass(frozen=True)
class Measured:
    """Of one clip: each measure against the clean clip by kind, and agreement with the clean clip's codes.

    measures: by kind, by measure. answer and noisy (3,): the shares of each layer's codes that agree.
    """

    snr: float | None
    clean_sha256: str
    speaker: str
    held_out: bool
    is_digit: bool
    measures: dict[str, dict[str, float | None]]
    answer: tuple[float, ...]
    noisy: tuple[float, ...]


@dataclass(frozen=True)
class Denoised:
    """By signal-to-noise ratio the means by kind and measure, and what the answer gained on the noisy clip.

    gains: by layer, of the shares of codes that agree; mel: of the mel distance in dB, by ratio.
    """

    means: dict[str, dict[str, dict[str, Mean]]]
    answer: list[Mean]
    noisy: list[Mean]
    gains: list[Mean]
    mel: dict[str, Mean]


def measure_denoising(models: Models, root: Path) -> list[Measured]:
    """Return every pair, denoised with a prompt of other pairs."""
    pairs = recorded_pairs(models, root)
    return [measured(models, pair, answer(models, pair, pairs, seed)) for seed, pair in enumerate(pairs)]


def recorded_pairs(models: Models, root: Path) -> list[Pair]:
    """Return the set of noisy clips with their clean ones."""
    rows, rate = manifest(root, "noisy_clean"), models.codec.config.sample_rate
    noisy = waveforms(root, rows, rate)
    clean = waveforms(root, [{"path": row["clean_path"]} for row in rows], rate)
    return [_pair(models, root, *one, other) for one, (_, other) in zip(noisy, clean, strict=True)]


def answer(models: Models, pair: Pair, pairs: Sequence[Pair], seed: int) -> AudioCodes:
    """Return the codes of the pair's noisy clip without its noise."""
    generator = models.generator("denoise", examples(pair, pairs, seed), repeats=REPEATS)
    return denoise(generator, pair.noisy_codes, slice_blocks=SLICE_BLOCKS, seed=seed)


def examples(pair: Pair, pairs: Sequence[Pair], seed: int) -> list[Example]:
    """Other pairs at random, of other speakers and other noise: the same stretch of both clips."""
    others = [
        other
        for other in pairs
        if other.speaker != pair.speaker
        and (other.noise is None or other.noise != pair.noise)
        and other.clean_codes.num_blocks >= SLICE_BLOCKS
    ]
    return [_example(other) for other in random.Random(SEED + seed).sample(others, SHOTS)]


def measured(models: Models, pair: Pair, said: AudioCodes) -> Measured:
    """Return how near everything is to the clean clip."""
    kinds = {
        INPUT: pair.noisy,
        FLOOR: models.decode(pair.noisy_codes.layers),
        OURS: models.decode(said),
        CEILING: models.decode(pair.clean_codes.layers),
    }
    if pair.filtered is not None:
        kinds[FILTERED] = pair.filtered
    rate, length = models.codec.config.sample_rate, len(pair.clean)
    return Measured(
        pair.snr,
        pair.clean_sha256,
        pair.speaker,
        pair.held_out,
        pair.is_digit,
        {kind: _measures(pair.clean, waveform[:length], rate) for kind, waveform in kinds.items()},
        _agreement(said, pair.clean_codes),
        _agreement(pair.noisy_codes.layers, pair.clean_codes),
    )


def summary(clips: Sequence[Measured]) -> Denoised:
    """Means over clips; intervals draw clean clips, of which some are there with several noises."""
    groups = {_name(snr): [one for one in clips if one.snr == snr] for snr in _ratios(clips)}
    answer, noisy = np.array([one.answer for one in clips]), np.array([one.noisy for one in clips])
    return Denoised(
        means={name: _means(group) for name, group in groups.items()},
        answer=[_mean(clips, layer) for layer in answer.T],
        noisy=[_mean(clips, layer) for layer in noisy.T],
        gains=[_mean(clips, layer) for layer in (answer - noisy).T],
        mel={name: _mean(group, [_mel_gain(one) for one in group]) for name, group in groups.items()},
    )


def denoising_lines(clips: Sequence[Measured]) -> Iterator[str]:
    """Yield the lines to print: all held-out clips, and what the answers gained."""
    kept = [one for one in clips if one.held_out]
    held, everything = summary(kept), summary(clips)
    yield f"Denoising against the clean clip: {len(kept)} clips whose clean speech the LLM never learned from"
    yield from _table(held)
    yield from _gain_lines(held)
    for layer, gain in enumerate(held.gains):
        yield f"  layer {layer} agrees better with clean than noisy does {verdict(gain.mean > 0)}"
    for name in map(_name, LOUD):
        yield f"  mel distance falls at {name} {verdict(held.mel[name].mean < 0)}"
    yield f"Denoising, all {len(clips)} clips, those too whose clean speech the LLM learned from"
    yield from _gain_lines(everything)
    yield PAPER


def _pair(models: Models, root: Path, row: DataRow, noisy: Tensor, clean: Tensor) -> Pair:
    return Pair(
        noisy=noisy[0, 0],
        clean=clean[0, 0],
        filtered=_filtered(models, root / row["path"]),
        noisy_codes=models.encode(noisy),
        clean_codes=models.encode(clean),
        snr=row["labels"]["snr_db"],
        speaker=row["speaker"],
        clean_sha256=row["clean_sha256"],
        noise=row.get("noise_path"),
        held_out=held_out(row),
        is_digit=row["speaker"].startswith("fsdd:"),
    )


def _filtered(models: Models, path: Path) -> Tensor | None:
    """Return the denoiser's answer, given at the clip's own rate, at the codec's (T,)."""
    if models.denoiser is None:
        return None
    rate = soundfile.info(path).samplerate
    own = read_waveform(path, rate)[0][0, 0].numpy()
    denoised = denoise_at(models.denoiser, [own], rate)
    return torch.from_numpy(
        np.concatenate([*resample_blocks(denoised, rate, models.codec.config.sample_rate)])
    )


def _example(pair: Pair) -> Example:
    width = CODES_PER_BLOCK[0] * SLICE_BLOCKS
    start = loudest_window(pair.clean_codes.levels, width)
    return Example(cut_window(pair.noisy_codes, start, width), cut_window(pair.clean_codes, start, width))


def _measures(clean: Tensor, waveform: Tensor, rate: int) -> dict[str, float | None]:
    return {
        MEL: mel_distance(clean, waveform, rate),
        "STOI": stoi(clean, waveform, rate),
        "PESQ": pesq(clean, waveform, rate) if has_pesq() else None,
        "SI-SDR": si_sdr(clean, waveform),
        "STFT": stft_loss(clean, waveform),
    }


def _agreement(layers: Iterable[Iterable[int]], clean: ClipCodes) -> tuple[float, ...]:
    return tuple(
        float(np.mean(np.array(list(said)) == codes))
        for said, codes in zip(layers, clean.layers, strict=True)
    )


def _ratios(clips: Sequence[Measured]) -> list[float | None]:
    known = sorted({one.snr for one in clips if one.snr is not None})
    return [*known, *([None] if any(one.snr is None for one in clips) else [])]


def _name(snr: float | None) -> str:
    return "recorded noise" if snr is None else f"{snr:g} dB"


def _means(group: Sequence[Measured]) -> dict[str, dict[str, Mean]]:
    return {kind: _of_kind(group, kind) for kind in group[0].measures}


def _of_kind(group: Sequence[Measured], kind: str) -> dict[str, Mean]:
    """Return the measures that any clip has."""
    values = {measure: [one.measures[kind][measure] for one in group] for measure in group[0].measures[kind]}
    kept = {
        measure: [(clip, value) for clip, value in zip(group, row, strict=True) if value is not None]
        for measure, row in values.items()
    }
    return {measure: _mean(*zip(*row, strict=True)) for measure, row in kept.items() if row}


def _mel_gain(clip: Measured) -> float:
    ours, floor = clip.measures[OURS][MEL], clip.measures[FLOOR][MEL]
    assert ours is not None
    assert floor is not None
    return ours - floor


def _mean(clips: Sequence[Measured], values: Sequence[float] | FloatArray) -> Mean:
    known = sorted({one.clean_sha256 for one in clips})
    return mean_of(values, [known.index(one.clean_sha256) for one in clips])


def _table(denoised: Denoised) -> Iterator[str]:
    for name, kinds in denoised.means.items():
        yield f"  {name} ({kinds[OURS][MEL].clips} clips)"
        for kind, measures in kinds.items():
            cells = (f"{measure} {mean.mean:7.2f}" for measure, mean in measures.items())
            yield f"    {kind:<26}{'   '.join(cells)}"


def _gain_lines(denoised: Denoised) -> Iterator[str]:
    shares = zip(denoised.answer, denoised.noisy, denoised.gains, strict=True)
    for layer, (said, noisy, gain) in enumerate(shares):
        yield (
            f"  codes of layer {layer} as in the clean clip: answer {100 * said.mean:.1f} %, "
            f"noisy {100 * noisy.mean:.1f} %, gained {gain.percent}"
        )
    for name, gain in denoised.mel.items():
        yield f"  mel distance at {name}: answer less floor {gain} dB"
