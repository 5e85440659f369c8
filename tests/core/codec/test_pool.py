import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.codec.pool import LARGEST, frame_sums, pooled_latent

DIM = 5


def latents(frames: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(DIM, frames, generator=generator) * 3 + torch.randn(DIM, 1, generator=generator) * 9


@given(frames=st.integers(1, 600), width=st.integers(1, 200), seed=st.integers(0, 10**6))
def test_a_clip_pools_alike_whole_and_in_windows_of_any_width(frames: int, width: int, seed: int) -> None:
    z = latents(frames, seed)
    parts = [frame_sums(part) for part in torch.split(z, width, dim=1)]
    pooled = pooled_latent(parts, frames, DIM)
    assert np.array_equal(pooled, pooled_latent([frame_sums(z)], frames, DIM))
    rows = z.double().numpy()
    expected = np.stack((rows.mean(1), rows.std(1))).astype(np.float16)
    np.testing.assert_allclose(pooled, expected, rtol=1e-3, atol=1e-3)


def test_a_steady_clip_has_no_deviation() -> None:
    steady = torch.full((DIM, 999), 7.3)
    pooled = pooled_latent([frame_sums(steady)], 999, DIM)
    assert pooled[0].tolist() == [np.float16(7.3)] * DIM
    assert (pooled[1] < 1e-3).all()


def test_what_half_precision_cannot_hold_stays_finite() -> None:
    pooled = pooled_latent([frame_sums(torch.full((DIM, 2), -1e9))], 2, DIM)
    assert pooled[0].tolist() == [-LARGEST] * DIM


def test_no_frames_are_zeros() -> None:
    assert pooled_latent([], 0, DIM).tolist() == [[0.0] * DIM] * 2
