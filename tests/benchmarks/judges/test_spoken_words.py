from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.judges.spoken_words import DigitRecogniser
from core.audio.resampling import read_waveform
from core.evaluation.metrics import accuracy

RATE = 16_000


def glide(first: float, last: float, seconds: float = 0.4, seed: int = 0) -> Tensor:
    """A tone that goes from one frequency to another, in a little noise."""
    hertz = torch.linspace(first, last, int(seconds * RATE))
    noise = torch.randn(len(hertz), generator=torch.Generator().manual_seed(seed))
    return 0.3 * torch.sin(2 * torch.pi * hertz.cumsum(0) / RATE) + 0.001 * noise


def takes(seeds: range) -> tuple[list[Tensor], list[str]]:
    """Rising and falling glides of several lengths and heights."""
    waveforms, texts = [], []
    for seed in seeds:
        low, high, seconds = 400 + 20 * seed, 1500 + 40 * seed, 0.3 + 0.02 * seed
        waveforms += [glide(low, high, seconds, seed), glide(high, low, seconds, seed)]
        texts += ["up", "down"]
    return waveforms, texts


@pytest.fixture(scope="module")
def recogniser() -> DigitRecogniser:
    return DigitRecogniser.fit(*takes(range(0, 16, 2)))


def test_takes_that_it_was_not_fitted_to_are_told_apart(recogniser: DigitRecogniser) -> None:
    waveforms, texts = takes(range(1, 16, 2))
    assert recogniser.recognize(waveforms) == texts


@given(gain=st.floats(0.05, 3), before=st.integers(0, 8_000), behind=st.integers(0, 8_000))
def test_it_hears_neither_how_loud_a_word_is_nor_where_it_lies(
    recogniser: DigitRecogniser, gain: float, before: int, behind: int
) -> None:
    waveforms, texts = takes(range(3, 5))
    placed = [torch.nn.functional.pad(gain * waveform, (before, behind)) for waveform in waveforms]
    assert recogniser.recognize(placed) == texts


def test_the_same_clips_in_any_order_make_the_same_recogniser(recogniser: DigitRecogniser) -> None:
    waveforms, texts = takes(range(0, 16, 2))
    unclear = [glide(1_000 - 10 * at, 1_000 + 10 * at) for at in range(-20, 20)]
    heard = recogniser.recognize(unclear)
    assert set(heard) == {"up", "down"}
    assert DigitRecogniser.fit(waveforms[::-1], texts[::-1]).recognize(unclear) == heard


def test_silence_and_clicks_are_heard_as_one_of_the_texts(recogniser: DigitRecogniser) -> None:
    click = torch.zeros(1, 1, 1)
    click[0, 0, 0] = 1.0
    assert set(recogniser.recognize([torch.zeros(RATE), click])) <= {"up", "down"}
    assert recogniser.recognize([]) == []


def test_a_recogniser_needs_two_texts_and_one_for_each_waveform() -> None:
    waveforms, texts = takes(range(2))
    with pytest.raises(ValueError, match="4 waveforms and 3 texts"):
        DigitRecogniser.fit(waveforms, texts[1:])
    with pytest.raises(ValueError, match="at least 2 different ones"):
        DigitRecogniser.fit(waveforms, ["up"] * 4)
    with pytest.raises(ValueError, match="one mono waveform"):
        DigitRecogniser.fit([torch.zeros(1, 2, 900), *waveforms[1:]], texts)


@pytest.mark.data
def test_recorded_digits_of_other_takes_are_recognised(test_data: Path) -> None:
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def recorded(numbers: range) -> tuple[list[Tensor], list[str]]:
        names = [(digit, take) for digit in range(10) for take in numbers]
        folder = test_data / "digits" / "dev"
        clips = [read_waveform(folder / f"{digit}_george_{take}.wav", RATE)[0] for digit, take in names]
        return clips, [words[digit] for digit, _ in names]

    waveforms, texts = recorded(range(10))
    heard = DigitRecogniser.fit(*recorded(range(10, 30))).recognize(waveforms)
    assert accuracy(heard, texts) > 0.9
