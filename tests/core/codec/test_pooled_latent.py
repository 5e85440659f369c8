import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.codec.pooled_latent import LARGEST, Latents, frame_sums, pooled_latent

DIM = 5


def latents(frames: int, seed: int) -> Latents:
    generator = np.random.default_rng(seed)
    z = generator.standard_normal((DIM, frames)) * 3 + generator.standard_normal((DIM, 1)) * 9
    return z.astype(np.float32)


@given(frames=st.integers(1, 600), width=st.integers(1, 200), seed=st.integers(0, 10**6))
def test_a_clip_pools_alike_whole_and_in_windows_of_any_width(frames: int, width: int, seed: int) -> None:
    z = latents(frames, seed)
    parts = [frame_sums(part) for part in np.split(z, range(width, frames, width), axis=1)]
    pooled = pooled_latent(parts, frames, DIM)
    assert np.array_equal(pooled, pooled_latent([frame_sums(z)], frames, DIM))
    rows = z.astype(np.float64)
    expected = np.stack((rows.mean(1), rows.std(1))).astype(np.float16)
    np.testing.assert_allclose(pooled, expected, rtol=1e-3, atol=1e-3)


def test_a_steady_clip_has_no_deviation() -> None:
    steady = np.full((DIM, 999), 7.3, np.float32)
    pooled = pooled_latent([frame_sums(steady)], 999, DIM)
    assert pooled[0].tolist() == [np.float16(7.3)] * DIM
    assert (pooled[1] < 1e-3).all()


def test_what_half_precision_cannot_hold_stays_finite() -> None:
    pooled = pooled_latent([frame_sums(np.full((DIM, 2), -1e9, np.float32))], 2, DIM)
    assert pooled[0].tolist() == [-LARGEST] * DIM


def test_no_frames_are_zeros() -> None:
    assert pooled_latent([], 0, DIM).tolist() == [[0.0] * DIM] * 2
