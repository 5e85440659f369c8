import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import AudioRejected, BadCodes
from core.tokens.clip_codes import ClipCodes, Int16Array, check_tokens, code_array


def int16(length: int, value: int = 0) -> Int16Array:
    return np.full(length, value, dtype=np.int16)


def test_a_clip_of_m_blocks_has_2m_4m_8m_codes_and_2m_levels() -> None:
    assert ClipCodes((int16(6), int16(12), int16(24)), int16(6, -300)).num_blocks == 3


@pytest.mark.parametrize(
    "lengths", [(0, 0, 0, 0), (3, 6, 12, 3), (2, 4, 7, 2), (2, 2, 8, 2), (4, 4, 8, 4), (2, 4, 8, 4)]
)
def test_other_lengths_are_refused(lengths: tuple[int, int, int, int]) -> None:
    semantic, acoustic1, acoustic2, levels = map(int16, lengths)
    with pytest.raises(BadCodes, match="a block has 2, 4, 8 codes"):
        ClipCodes((semantic, acoustic1, acoustic2), levels)


def test_another_codec_has_its_own_layers_and_larger_codes() -> None:
    wide = np.array([0, 65_535], np.int32)
    clip = ClipCodes((wide,), int16(2), per_block=(1,))
    assert clip.num_blocks == 2
    assert clip.semantic is wide
    with pytest.raises(BadCodes, match="3 layers of codes, the codec has 1"):
        ClipCodes((int16(2), int16(2), int16(2)), int16(2), per_block=(1,))


def test_codes_are_kept_small_where_they_fit() -> None:
    assert code_array([0, 32_767]).dtype == np.int16
    assert code_array([0, 32_768]).tolist() == [0, 32_768]


def test_a_negative_code_is_refused() -> None:
    with pytest.raises(BadCodes, match="the code -1"):
        ClipCodes((int16(2), int16(4, -1), int16(8)), int16(2))


@pytest.mark.parametrize("semantic", [[1, 2], np.zeros(2, dtype=np.int64), np.zeros((2, 1), dtype=np.int16)])
def test_anything_but_one_dimensional_int16_is_refused(semantic: object) -> None:
    with pytest.raises(BadCodes, match="int16"):
        ClipCodes((semantic, int16(4), int16(8)), int16(2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "latent",
    [
        np.zeros((2, 3)),
        np.zeros((3, 3), np.float16),
        np.zeros(3, np.float16),
        np.zeros((1, 2, 3), np.float16),
    ],
)
def test_a_latent_is_two_rows_of_half_precision(latent: NDArray[np.float16]) -> None:
    with pytest.raises(BadCodes, match=r"float16 array \(2, D\)"):
        ClipCodes((int16(2), int16(4), int16(8)), int16(2), latent)


@pytest.mark.parametrize("latent", [[[np.nan], [0]], [[np.inf], [0]], [[0], [-1]]])
def test_a_latent_is_finite_and_deviates_by_nothing_negative(latent: list[list[float]]) -> None:
    with pytest.raises(BadCodes, match="tokenize again"):
        ClipCodes((int16(2), int16(4), int16(8)), int16(2), np.array(latent, np.float16))


FINE = ([0, 3], [0, 7, 1, 1], [0] * 8)
LATENT = np.array([[-3.5, 0], [0.25, 0]], np.float16)


def test_what_a_codec_may_store_passes() -> None:
    check_tokens(FINE, LATENT, (4, 8, 8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65504, -65504])
@pytest.mark.parametrize("row", [0, 1])
def test_a_latent_that_is_not_finite_or_at_the_limit_is_not_stored(bad: float, row: int) -> None:
    latent = LATENT.copy()
    latent[row, 1] = bad
    with pytest.raises(AudioRejected, match="not_finite"):
        check_tokens(FINE, latent, (4, 8, 8))


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("code", [-1, 8])
def test_a_code_outside_its_codebook_is_not_stored(layer: int, code: int) -> None:
    layers = [list(codes) for codes in FINE]
    layers[layer][1] = code
    with pytest.raises(AudioRejected, match=f"failed: layer {layer} holds the code {code}"):
        check_tokens(layers, LATENT, (4, 8, 8))
