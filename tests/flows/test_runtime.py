"""What the batches of a process share."""

import fcntl
from pathlib import Path

import pytest

from flows.runtime import Runtime
from flows.settings import Settings


def test_computations_of_several_batches_go_on_side_by_side_on_a_cpu(tmp_path: Path) -> None:
    runtime = Runtime(Settings(home=tmp_path, device="cpu"))
    with runtime.device_lock(), runtime.device_lock():
        pass


def test_a_gpu_computes_for_one_batch_at_a_time(tmp_path: Path) -> None:
    runtime = Runtime(Settings(home=tmp_path, device="cuda:1"))
    lock = tmp_path / "locks" / "device-cuda-1"
    with runtime.device_lock(), lock.open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
