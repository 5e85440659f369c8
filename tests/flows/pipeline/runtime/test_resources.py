"""What the batches of a process share."""

import fcntl
import shutil
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch

from core.codec import LLMCodec
from core.errors import CheckpointMismatch
from core.presets import preset_directory
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime, computing_side_by_side
from tests.flows.pipeline.labeling.test_label import write_llama


def test_computations_of_several_batches_go_on_side_by_side_on_a_cpu(tmp_path: Path) -> None:
    runtime = Runtime(Settings(home=tmp_path, device="cpu"))
    with runtime.device_lock(), runtime.device_lock():
        pass


def test_a_gpu_computes_for_one_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    runtime = Runtime(Settings(home=tmp_path, device="cuda:1"))
    lock = tmp_path / "locks" / "device-cuda-1"
    with runtime.device_lock(), lock.open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_two_gpus_that_two_processes_both_call_the_first_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = [Runtime(Settings(home=tmp_path, device="cuda")).device_lock() for _ in range(2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with locks[0]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-1/1/0")
        with locks[1]:
            assert len(list((tmp_path / "locks").iterdir())) == 2


EIGHT_GPUS = ",".join(f"GPU-{number:08}-1b7d-4f3e-8b9e-1f2e3d4c5b6a" for number in range(8))


@pytest.mark.parametrize("visible", ["1,0", EIGHT_GPUS])
def test_one_gpu_has_one_lock_however_many_others_a_process_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    whole, alone = (Runtime(Settings(home=tmp_path, device=device)) for device in ("cuda:1", "cuda"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with whole.device_lock():
        pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible.split(",")[1])
    with alone.device_lock():
        pass
    assert len(list((tmp_path / "locks").iterdir())) == 1


@pytest.mark.usefixtures("four_threads")
def test_a_batch_that_has_a_gpu_for_itself_has_all_cores(tmp_path: Path) -> None:
    runtime = Runtime(Settings(home=tmp_path, device="cuda:1"))
    with computing_side_by_side(2), runtime.device_lock():
        assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("batches", "each"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_batches_that_compute_side_by_side_share_out_the_cores(
    tmp_path: Path, batches: int, each: int
) -> None:
    runtime, found = Runtime(Settings(home=tmp_path, device="cpu")), []
    together = Barrier(batches)

    def compute() -> None:
        with runtime.device_lock():
            together.wait(timeout=30)
            found.append(torch.get_num_threads())

    with computing_side_by_side(batches):
        threads = [Thread(target=copy_context().run, args=[compute]) for _ in range(batches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [each] * batches
    with runtime.device_lock():
        assert torch.get_num_threads() == 4


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """A codec without a tokenizer, and an LLM with one, which belong together."""
    codec, llm = tmp_path / "codec", write_llama(tmp_path / "llm")
    shutil.copytree(preset_directory("mini-codec"), codec)
    (codec / "tokenizer.model").unlink()
    return codec, llm


def test_a_codec_without_a_tokenizer_takes_the_words_of_its_llm(
    tmp_path: Path, models: tuple[Path, Path]
) -> None:
    codec, llm = map(str, models)
    opened = Runtime(Settings(home=tmp_path, codec=codec, llm=llm)).llm
    assert opened
    assert len(opened.vocabulary.tokenizer) == 3072


def test_a_codec_without_a_tokenizer_is_refused_with_an_llm_of_another_vocabulary(
    tmp_path: Path, models: tuple[Path, Path]
) -> None:
    codec, llm = map(str, models)
    runtime = Runtime(Settings(home=tmp_path, codec=codec, llm=llm))
    codec_model = runtime.codec
    assert isinstance(codec_model, LLMCodec)
    codec_model.config = replace(codec_model.config, codebook_sizes=(512, 32_000, 32_000))
    labeling_llm = runtime.llm
    assert labeling_llm
    with pytest.raises(CheckpointMismatch, match=r"32000 rows, the tokenizer of .* has 3072 pieces"):
        _ = labeling_llm.vocabulary
