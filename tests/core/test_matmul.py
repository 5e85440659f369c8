"""Products against torch's own."""

import pytest
import torch

from core.matmul import pack_weight, product


@pytest.mark.parametrize("rows", [1, 7, 40, 300])
@torch.inference_mode()
def test_a_product_is_that_of_a_linear_layer(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, rows, 96, generator=generator), torch.randn(500, 96, generator=generator)
    bias = torch.randn(500, generator=generator)
    torch.testing.assert_close(product(x, weight), torch.nn.functional.linear(x, weight))
    torch.testing.assert_close(product(x, weight, bias), torch.nn.functional.linear(x, weight, bias))


@pytest.mark.parametrize("rows", [1, 7, 40])
@torch.inference_mode()
def test_a_packed_weight_gives_the_same(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 96, generator=generator) for n in (rows, 500))
    torch.testing.assert_close(product(x, pack_weight(weight, 32)), torch.nn.functional.linear(x, weight))


@torch.inference_mode()
def test_rows_may_overlap_in_memory() -> None:
    x = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    pairs = x.as_strided((29, 16), (8, 1))
    weight = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(product(pairs, weight), pairs.contiguous() @ weight.T)


def test_a_network_in_training_gets_gradients() -> None:
    x, weight = torch.ones(2, 3), torch.ones(4, 3, requires_grad=True)
    product(x, weight).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full((4, 3), 2.0))
