"""Levels under each semantic code."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AudioRejected
from core.tokens.loudness import MIN_LEVEL, LevelMeter

SPAN, BLOCK = 1920, 3840


def levels(samples: torch.Tensor, cut: int) -> list[int]:
    meter = LevelMeter(SPAN, BLOCK)
    pieces = torch.split(samples, cut)
    assert sum(len(piece) for piece in meter.measure(pieces)) == len(samples)
    return list(map(int, meter.levels))


@given(length=st.integers(1, 30_000), cut=st.integers(1, 9000), seed=st.integers(0, 9))
def test_levels_do_not_depend_on_how_the_clip_arrives(length: int, cut: int, seed: int) -> None:
    samples = torch.randn(length, generator=torch.Generator().manual_seed(seed))
    whole = levels(samples, length)
    assert levels(samples, cut) == whole
    assert len(whole) == 2 * -(-length // BLOCK)


def test_full_scale_is_zero_half_is_minus_six_decibels_and_padding_is_silence() -> None:
    samples = torch.cat((torch.ones(SPAN), 0.5 * torch.ones(SPAN), torch.ones(SPAN)))
    assert levels(samples, 1000) == [0, -60, 0, MIN_LEVEL]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_samples_that_are_not_finite_have_no_levels(bad: float) -> None:
    with pytest.raises(AudioRejected, match="not_finite"):
        levels(torch.cat((torch.ones(SPAN), torch.tensor([bad]))), SPAN)
