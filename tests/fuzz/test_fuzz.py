"""A small part of `make fuzz`, and that its judge can find what it looks for."""

import numpy as np
import pytest

from core.decoding.audio_stream import AudioInfo, Samples
from core.decoding.child_process.decoder import ClipDecoder
from tests.fuzz.judge import LIMITS, Judge, Tally, wrongs
from tests.fuzz.mutations import Mutant, mutant
from tests.fuzz.run import fuzz
from tests.fuzz.seeds import seeds

FILES = 200
WAV = seeds()[0]


def test_every_seed_decodes_whole() -> None:
    tally = Tally()
    with ClipDecoder(LIMITS) as decoder:
        for seed in seeds():
            Judge(decoder, tally).judge(Mutant(seed.name, seed.data, seed, copies=1))
    assert tally.broken == []
    assert tally.decoded == len(seeds())


def test_mutants_break_no_promise() -> None:
    assert fuzz(FILES, seed=0).broken == []


def test_a_number_names_one_mutant() -> None:
    assert mutant(seeds(), 7) == mutant(seeds(), 7)
    assert len({mutant(seeds(), number).data for number in range(FILES)}) > FILES * 0.9


@pytest.mark.parametrize(
    ("blocks", "counted", "promise"),
    [
        ([np.zeros(8_000)], 8_001, "were counted"),
        ([np.full(8_000, np.nan)], 8_000, "not finite"),
        ([np.zeros(4_000)], 4_000, "taken as the whole"),
    ],
)
def test_the_judge_sees_a_broken_promise(blocks: list[Samples], counted: int, promise: str) -> None:
    info = AudioInfo("WAV", 16_000, 1, counted, 0.0)
    found = wrongs(Mutant("cut", b"", WAV, is_cut=True), blocks, info)
    assert len(found) == 1
    assert promise in found[0]
