from collections import deque

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.codec.config import MEL_BANDS
from core.codec.mel import LogMelFrames
from core.decoding.audio_stream import Samples
from core.embeddings.log_mel import LogMelPass, log_mel_statistics
from core.embeddings.log_mel_model import HOP_LENGTH, SAMPLE_RATE


def hiss(num_samples: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(num_samples=st.integers(1, 70_000), sizes=st.lists(st.integers(1, 40_000), max_size=5))
def test_pieces_of_any_size_give_the_same_bits_as_the_whole_clip(num_samples: int, sizes: list[int]) -> None:
    samples, together = hiss(num_samples), LogMelPass()
    pieces = np.split(samples, np.minimum(np.cumsum(sizes), num_samples))
    for clip in ([hiss(500, 1)], pieces):
        assert np.array_equal(np.concatenate(list(together.follow(clip))), np.concatenate(clip))
    assert together.finish()[1].embedding.tobytes() == log_mel_statistics(samples).tobytes()


def test_statistics_are_those_of_the_whole_spectrum() -> None:
    for num_samples in (100, 5_000, 128 * HOP_LENGTH, 100_001):
        samples = torch.from_numpy(hiss(num_samples))
        padded = torch.nn.functional.pad(samples, (0, -num_samples % HOP_LENGTH))
        mel = LogMelFrames(SAMPLE_RATE, HOP_LENGTH)(padded[None, None])[0].double()
        steps = mel.diff(dim=-1)
        step = steps.std(-1, correction=0) if steps.shape[-1] else torch.zeros(MEL_BANDS)
        whole = torch.cat((mel.mean(-1), mel.std(-1, correction=0), step))
        np.testing.assert_allclose(log_mel_statistics(samples.numpy()), whole, atol=1e-4)


def test_steady_noise_has_the_statistics_of_noise_and_silence_those_of_silence() -> None:
    def statistics(samples: Samples) -> list[Samples]:
        return np.split(log_mel_statistics(samples), 3)

    one, other = (statistics(hiss(38_400, seed)) for seed in (1, 2))
    # the end of a clip is filled up with zeros, so its first and last frames are quieter
    assert all(np.abs(a - b).mean() < 0.02 for a, b in zip(one, other, strict=True))
    mean, deviation, steps = statistics(np.zeros(38_400, np.float32))
    assert (mean < one[0]).all()
    assert not deviation.any()
    assert not steps.any()


def test_a_clip_without_samples_is_silence() -> None:
    empty = LogMelPass()
    deque(empty.follow(list[Samples]()), maxlen=0)
    silent = log_mel_statistics(np.zeros(240, np.float32))
    assert np.array_equal(empty.finish()[0].embedding, silent)
