"""A step on models over batches: one bad item costs itself, and what is not an item's fault is raised."""

from collections.abc import Callable, Sequence

import pytest
import torch
from sqlalchemy.exc import OperationalError

from core.errors import AudioRejected
from flows.pipeline.runs.halving import DeviceFailed, ModelStep


def step(
    work: Callable[[Sequence[int]], list[int]], limits: dict[str, int] | None = None
) -> ModelStep[int, int]:
    return ModelStep("double", work, {} if limits is None else limits, lambda: work([0]))


def failing_on(bad: set[int], error: Exception) -> Callable[[Sequence[int]], list[int]]:
    def work(items: Sequence[int]) -> list[int]:
        if bad & set(items):
            raise error
        return [2 * item for item in items]

    return work


@pytest.mark.parametrize("bad", [{1}, {40}, {1, 2, 3}, {7, 39}, set(range(1, 41))])
def test_an_item_that_fails_alone_costs_itself_and_keeps_the_order(bad: set[int]) -> None:
    outcomes = step(failing_on(bad, RuntimeError("boom\nand more"))).run(range(1, 41))
    failed = {item: one for item, one in enumerate(outcomes, 1) if isinstance(one, AudioRejected)}
    assert set(failed) == bad
    assert {str(one) for one in failed.values()} == {"failed: double: RuntimeError: boom"}
    assert [one for one in outcomes if isinstance(one, int)] == [2 * i for i in range(1, 41) if i not in bad]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.OutOfMemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_a_batch_that_runs_out_of_memory_is_halved_and_its_size_remembered(error: Exception) -> None:
    sizes: list[int] = []
    limits: dict[str, int] = {}

    def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > 4:
            raise error
        return [2 * item for item in items]

    assert step(work, limits).run(range(40)) == [2 * item for item in range(40)]
    assert limits == {"double": 2}
    assert sizes[:4] == [40, 20, 10, 5]
    sizes.clear()
    step(work, limits).run(range(9))
    assert sizes == [2, 2, 2, 2, 1]


def test_an_error_on_good_input_too_is_raised_after_few_calls() -> None:
    calls: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        raise KeyError("no such weight")

    with pytest.raises(KeyError, match="no such weight"):
        step(work).run(range(1000))
    assert len(calls) < 15


def test_without_a_probe_an_error_of_a_single_item_is_raised() -> None:
    with pytest.raises(ValueError, match="boom"):
        ModelStep("double", failing_on({3}, ValueError("boom")), {}).run(range(8))


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 1", None, Exception("server closed the connection")),
        ChildProcessError("the decoder was killed"),
        OSError(28, "No space left on device"),
    ],
)
def test_an_error_of_the_run_is_raised_at_once(error: Exception) -> None:
    calls: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        raise error

    with pytest.raises(type(error)):
        step(work).run(range(8))
    assert calls == [8]


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_device_that_is_lost_ends_the_process_at_once(text: str) -> None:
    calls: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        raise RuntimeError(text)

    with pytest.raises(DeviceFailed, match="run again"):
        step(work).run(range(8))
    assert calls == [8]
