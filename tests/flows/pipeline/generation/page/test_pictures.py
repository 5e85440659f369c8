"""Pictures of clips can be compared: one scale of time, frequency and level."""

import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.audio.picture import BANDS, LEVELS, RANGE_DB, palette, scale_bar
from core.audio.resampling import wav_bytes
from flows.pipeline.generation.page.pictures import (
    MIN_TICK_PIXELS,
    WIDTH,
    Scale,
    frequency_ticks,
    read_excerpt,
)
from tests.core.audio.test_picture import chunks


def tone(hertz: float, seconds: float = 0.5, peak: float = 0.5, rate: int = 16_000) -> bytes:
    time = torch.arange(round(seconds * rate)) / rate
    return wav_bytes(peak * torch.sin(2 * torch.pi * hertz * time), rate)


def pixels(png: bytes) -> NDArray[np.uint8]:
    parts = chunks(png)
    width, height = (int.from_bytes(parts[b"IHDR"][at : at + 4], "big") for at in (0, 4))
    return np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, width + 1)[:, 1:]


@pytest.mark.parametrize(("name", "hertz"), [("0.5", 500), ("1", 1000), ("4", 4000)])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_a_tone_is_brightest_where_the_axis_says_it_is(name: str, hertz: int, rate: int) -> None:
    excerpt = read_excerpt(tone(hertz, rate=rate))
    middle = pixels(Scale.of([excerpt]).png(excerpt))[:, 25]
    height = (BANDS - 0.5 - int(middle.argmax())) / BANDS
    assert dict(frequency_ticks())[name] == pytest.approx(height, abs=1.5 / BANDS)


def test_a_clip_half_as_loud_is_as_much_darker_as_the_scale_says() -> None:
    loud, quiet = read_excerpt(tone(1000)), read_excerpt(tone(1000, peak=0.05))
    scale = Scale.of([quiet, loud])
    brightest = [int(pixels(scale.png(one)).max()) for one in (loud, quiet)]
    assert brightest[0] == LEVELS - 1
    assert brightest[0] - brightest[1] == pytest.approx(20 / RANGE_DB * (LEVELS - 1), abs=1)


def test_silence_is_dark() -> None:
    silent = read_excerpt(wav_bytes(torch.zeros(4000), 16_000))
    assert not pixels(Scale.of([silent]).png(silent)).any()


def test_a_short_clip_keeps_its_bytes() -> None:
    wav = tone(300, 0.24)
    excerpt = read_excerpt(wav)
    assert excerpt.wav == wav
    assert excerpt.seconds == excerpt.whole == 0.24


def test_of_a_long_clip_the_beginning_is_heard_and_its_length_known() -> None:
    excerpt = read_excerpt(tone(300, 20.0))
    assert (excerpt.seconds, excerpt.whole) == (15.0, 20.0)
    again = read_excerpt(excerpt.wav)
    assert again.whole == 15.0
    np.testing.assert_allclose(again.levels, excerpt.levels, atol=0.1)


@pytest.mark.parametrize("wav", [b"", b"RIFF", b"<script>" * 100])
def test_what_is_no_audio_is_refused(wav: bytes) -> None:
    with pytest.raises(ValueError, match="not a wav file"):
        read_excerpt(wav)


def test_a_clip_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="has no samples"):
        read_excerpt(wav_bytes(torch.zeros(0), 16_000))


def test_colors_grow_lighter_so_that_they_also_read_in_gray() -> None:
    luminance = palette() @ np.array([0.2126, 0.7152, 0.0722])
    assert all(one < other for one, other in pairwise(luminance))
    assert luminance[0] < 20
    assert luminance[-1] > 240
    assert pixels(scale_bar()).tolist() == [list(range(LEVELS))]


def test_the_longest_clip_is_as_wide_as_a_phone_shows_unless_it_is_long() -> None:
    assert Scale.of([read_excerpt(tone(300, 0.96)), read_excerpt(tone(300, 0.24))]).width(0.96) == WIDTH
    assert Scale.of([read_excerpt(tone(300, 15.0))]).width(15.0) == 15 * 140


@given(st.floats(0.02, 15.0), st.floats(0.02, 15.0))
def test_marks_of_time_lie_on_the_picture_and_apart(longest: float, seconds: float) -> None:
    scale = Scale(0.0, min(max(WIDTH / longest, 140.0), 250.0))
    ticks = scale.time_ticks(seconds)
    assert ticks[0] == ("0", 0)
    assert all(other[1] - one[1] >= MIN_TICK_PIXELS - 1 for one, other in pairwise(ticks))
    assert all(left == scale.width(float(name)) for name, left in ticks[1:])
    assert ticks[-1][1] <= scale.width(seconds)
