"""The rough search answers as a full one does, however alike or odd the vectors are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from core.codec.cpu import nearest
from core.codec.cpu.nearest import RoughSearch
from core.codec.quantize import VectorQuantize
from core.matmul import has_byte_products

pytestmark = pytest.mark.skipif(not has_byte_products(), reason="no exact products of bytes on this CPU")


def table_of(rows: int, dim: int, alike: float, seed: int) -> Tensor:
    """Return unit vectors around one direction, closer the larger `alike`, with a few large numbers."""
    generator = torch.Generator().manual_seed(seed)
    around = torch.randn(rows, dim, generator=generator) + alike * torch.randn(dim, generator=generator)
    around[::7, 0] *= 30
    return functional.normalize(around)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40),
    dim=st.sampled_from([16, 64, 512]),
    alike=st.sampled_from([0.0, 1.0, 10.0, 1000.0]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 2**31),
)
@torch.inference_mode()
def test_no_other_vector_has_a_larger_cosine(
    rows: int, dim: int, alike: float, scale: float, seed: int
) -> None:
    table = table_of(3000, dim, alike, seed)
    query = scale * torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed + 1))
    query[: rows // 2] += scale * 3 * table[: rows // 2]
    found = RoughSearch(table).nearest(query)
    cosines = functional.normalize(query) @ table.T
    best = cosines.amax(dim=1, keepdim=True)
    if found is None:  # so many are so near that bytes cannot tell them apart
        assert int((cosines > best - 0.2).sum()) > nearest.MAX_CANDIDATES_PER_ROW * rows
    else:
        torch.testing.assert_close(cosines.gather(1, found[:, None]), best, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_of_equal_vectors_the_first_is_taken() -> None:
    table = table_of(1000, 64, 0.0, 0).repeat(3, 1)
    found = RoughSearch(table).nearest(table[1500:1520])
    assert found is not None
    assert found.tolist() == list(range(500, 520))


@torch.inference_mode()
def test_rows_that_a_full_search_must_answer_are_left_to_it() -> None:
    search, row = RoughSearch(table_of(3000, 64, 0.0, 0)), torch.ones(1, 64)
    assert search.nearest(row) is not None
    for odd in (0.0, float("nan"), float("inf")):
        assert search.nearest(row * odd) is None
        assert search.nearest(torch.cat([row, row * odd])) is None


@torch.inference_mode()
def test_a_layer_with_a_large_table_finds_the_same_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = VectorQuantize(nearest.MIN_TABLE_NUMBERS // 64, 64, 2)
    layer.load_table(
        torch.randn(nearest.MIN_TABLE_NUMBERS // 64, 64, generator=torch.Generator().manual_seed(0))
    )
    residual = torch.randn(2, 64, 20, generator=torch.Generator().manual_seed(1))
    residual[0, :, :2] = 0.0  # silence, for which all vectors are as near
    asked: list[int] = []
    search = RoughSearch.nearest

    def counted(self: RoughSearch, rows: Tensor) -> Tensor | None:
        asked.append(len(rows))
        return search(self, rows)

    monkeypatch.setattr(RoughSearch, "nearest", counted)
    roughly = [layer.encode(residual), layer.encode(residual[1:])]
    assert asked == [20, 10]
    monkeypatch.setattr(nearest, "MIN_TABLE_NUMBERS", nearest.MIN_TABLE_NUMBERS * 2)
    assert torch.equal(layer.encode(residual), roughly[0])
    assert torch.equal(layer.encode(residual[1:]), roughly[1])
