"""Model steps that halve a failing batch, so that one bad clip costs one row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.exc import SQLAlchemyError

from core.errors import AudioRejected, CheckpointMismatch
from flows.pipeline.storage import StorageError

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_MESSAGE_LENGTH = 300

OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
STICKY_ERROR_TEXTS = (
    "CUDA error",
    "HIP error",
    "device-side assert",
    "illegal memory access",
    "unspecified launch failure",
    "CUBLAS_STATUS_",
    "CUDNN_STATUS_",
    "cuDNN error",
)
"""Texts of errors after which every further call on the device fails until the process ends."""


class DeviceFailed(RuntimeError):
    """The device failed, and only a new process can use it again."""


RUN_ERRORS = (
    DeviceFailed,
    SQLAlchemyError,
    StorageError,
    ClientError,
    BotoCoreError,
    OSError,
    CheckpointMismatch,
)
"""Errors of the run (database, storage, a killed child process, model files), not of a clip."""


@dataclass(frozen=True)
class ModelStep(Generic[Item, Result]):
    """A step on models: `work` returns a result for each item, in order.

    An item that fails alone is at fault only if `probe`, which does the same with good input, succeeds. If
    that fails too, or there is no probe, the error is raised. `limits` has the largest batch by name of the
    step, once a larger batch ran out of memory.
    """

    name: str
    work: Callable[[Sequence[Item]], Sequence[Result]]
    limits: dict[str, int]
    probe: Callable[[], object] | None = None

    def run(self, items: Sequence[Item]) -> list[Result | AudioRejected]:
        """Return a result for each item, or a rejection as `failed` if the step fails on this item alone."""
        outcomes: list[Result | AudioRejected] = []
        while rest := items[len(outcomes) :]:
            outcomes += self._run(rest[: self.limits.get(self.name, len(rest))])
        return outcomes

    def _run(self, items: Sequence[Item]) -> list[Result | AudioRejected]:
        try:
            return list(self.work(items))
        except RUN_ERRORS:
            raise
        except Exception as error:
            _raise_if_sticky(error)
            if len(items) == 1:
                return [self._judge(error)]
            short_of_memory = is_out_of_memory(error)
        # outside the handler, which would keep the failed call's tensors in memory
        half = len(items) // 2
        if short_of_memory:
            self.limits[self.name] = min(half, self.limits.get(self.name, half))
            return self.run(items)
        return [*self._run(items[:half]), *self._run(items[half:])]

    def _judge(self, error: Exception) -> AudioRejected:
        """Return a rejection if the item is at fault; otherwise raise the error."""
        if self.probe is None:
            raise error
        try:
            self.probe()
        except Exception as trouble:
            _raise_if_sticky(trouble)
            raise error from trouble
        return AudioRejected("failed", f"{self.name}: {_first_line(error)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, which PyTorch reports in several ways."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY_TEXTS)


def _raise_if_sticky(error: Exception) -> None:
    sticky = isinstance(error, RuntimeError) and any(text in str(error) for text in STICKY_ERROR_TEXTS)
    if sticky and not is_out_of_memory(error) and "NOT_SUPPORTED" not in str(error):
        raise DeviceFailed(
            f"the device failed ({_first_line(error)}) and this process can no longer use it: run again, "
            "which continues where this run stopped; if it fails again, check the GPU (nvidia-smi)"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).replace("\0", "").strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])[:MAX_MESSAGE_LENGTH]
