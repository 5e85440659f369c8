"""The GPU's benchmark at toy size on a CPU: every table, bar and line of it, not its figures."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch

from benchmarks import gpu, gpu_codec, gpu_generation, gpu_labeling
from benchmarks.device import Device, if_it_fits
from benchmarks.gpu_codec import PRECISIONS, CodecFigure, CodecSizes
from benchmarks.gpu_generation import GenerationFigure
from benchmarks.gpu_labeling import Labeling, LabelingFigure, LlamaSizes
from benchmarks.machine import operations
from benchmarks.random_llama import forward_operations, last_logits, random_model
from core.codec import CodecConfig

# isort: split
from transformers import LlamaConfig

CPU = torch.device("cpu")
TINY_LLAMA = LlamaConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, vocab_size=32000
)
# the released blocks without depthwise convolutions: those take a way of their own on a CPU
TINY_CODEC = CodecConfig(
    encoder_dim=4,
    latent_dim=64,
    decoder_dim=64,
    depthwise=False,
    codebook_sizes=(64, 256, 256),
    codebook_dim=16,
)
CODEC = CodecSizes(TINY_CODEC, seconds=1, batches=(1, 2))
LLAMA = LlamaSizes(
    {"tiny": TINY_LLAMA},
    prefix=40,
    query=5,
    queries=8,
    plain_batches=(1, 2),
    pack_budgets=(30,),
    generated=3,
    steps=4,
)


@pytest.fixture(scope="module")
def device() -> Device:
    return Device.measured(CPU, matrix=64, read_bytes=2**20, budget=0.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_part_prints_its_table_its_bars_and_one_line_of_json(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    said = gpu.report(device, gpu.NAMES, CODEC, LLAMA)
    *printed, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == json.loads(json.dumps(said))
    assert printed[0].startswith("cpu: bfloat16")
    assert said["command"] == "python -m benchmarks.gpu codec labeling generation"
    assert {"date", "device"} < set(said)
    bars = [bar for name in gpu.NAMES for bar in said[name]["bars"]]
    assert len(bars) == 2 + 3 + 1
    assert all(any(bar in line and line.endswith(("ed", "ED")) for line in printed) for bar in bars)
    assert not any(said[name]["skipped"] for name in gpu.NAMES)


def test_the_codec_is_measured_in_every_batch_direction_and_precision(device: Device) -> None:
    rows = [row for row in gpu_codec.figures(device, CODEC) if isinstance(row, CodecFigure)]
    assert len({(row.direction, row.batch, row.precision) for row in rows}) == 2 * 2 * len(PRECISIONS)
    assert all(row.rate > 0 for row in rows)
    assert all(row.different < 1e-6 for row in rows if row.precision == "float32")
    assert all(
        0 < row.different < 0.5 for row in rows if row.precision != "float32" and row.direction == "decode"
    )


def test_every_way_of_labeling_is_measured_and_packed_labels_are_those_of_prompts_read_alone(
    device: Device,
) -> None:
    rows = [row for row in gpu_labeling.figures(device, LLAMA) if isinstance(row, LabelingFigure)]
    ways = [("plain", 1), ("plain", 2), ("prefill", 1), ("packed", None), ("packed", 30)]
    assert [(row.way, row.together) for row in rows] == ways
    assert all(row.seconds > 0 and row.rate > 0 for row in rows)
    assert all(row.different < 1e-3 for row in rows)


def test_packed_labels_that_were_others_would_be_seen(device: Device) -> None:
    model = random_model(torch.Generator().manual_seed(0), TINY_LLAMA, "bfloat16")
    labeling = Labeling("tiny", model, device, LLAMA)
    prefix = labeling.llama.prefill(labeling.prefix)
    nodes = labeling.llama.score_nodes(prefix, labeling.queries, labeling.trie)
    assert labeling.difference(nodes) < 1e-3
    assert labeling.difference(nodes.roll(1, dims=1)) > gpu_labeling.DIFFERENCE_BAR


def test_a_step_reads_all_weights_but_the_embeddings_and_the_row_so_far(device: Device) -> None:
    (one,) = gpu_generation.figures(device, LLAMA)
    assert isinstance(one, GenerationFigure)
    layers = 2 * (4 * 32 * 32 + 3 * 32 * 48 + 2 * 32)
    row = 40 + 3 * (5 + 1 + 1.5)
    assert one.read == 2 * (layers + 32 + 32 * 32000) + 2 * 2 * 32 * 2 * row
    assert one.batch == 3


def test_operations_are_those_that_torch_counts() -> None:
    model = random_model(torch.Generator().manual_seed(0), deepcopy(TINY_LLAMA))
    model.set_attn_implementation("eager")
    ids = torch.arange(20)[None]
    counted = operations(lambda: last_logits(model, ids))
    # torch counts what is masked, too
    assert forward_operations(model, 20, 20 * 20, 1) == pytest.approx(counted, rel=0.01)


def test_a_shape_that_does_not_fit_is_skipped_and_named(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_labeling, "free_bytes", lambda _: 1e6)
    for name in ("labeling", "generation"):
        said: dict[str, Any] = gpu.parts(device, CODEC, LLAMA)[name].report()
        assert said["skipped"] == [
            "tiny: skipped, it does not fit the memory of the device: 0 GB are needed, 0 GB are free"
        ]
        assert (said["figures"], said["bars"]) == ([], {})


def test_a_batch_that_does_not_fit_is_skipped_and_named() -> None:
    def too_large() -> int:
        raise torch.OutOfMemoryError

    assert if_it_fits("a batch", lambda: 7) == 7
    assert if_it_fits("a batch", too_large) == "a batch: skipped, it does not fit the memory of the device"


@pytest.mark.parametrize(
    ("part", "message"),
    [("codec", "torch sees no CUDA device"), ("codecs", "unknown: codecs; there are codec")],
)
def test_without_a_gpu_or_with_an_unknown_part_it_ends_with_a_message(
    part: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=message):
        gpu.main([part])
