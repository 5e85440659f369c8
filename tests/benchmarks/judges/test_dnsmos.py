from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.judges.dnsmos import SAMPLES, Dnsmos, Opinion, calibrated, segments
from core.decoding.audio_stream import Samples

NEEDS = "the packages onnx and onnxruntime are not installed"


def samples(count: int) -> Samples:
    return np.arange(count, dtype=np.float32)


def network(path: Path, takes: str = "input_1") -> Path:
    """An ONNX file with the interface of the published one: its outputs are a mean times 1, 2 and 3."""
    onnx = pytest.importorskip("onnx", reason=NEEDS)
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", [takes], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["mean", "gains"], ["Identity:0"]),
        ],
        "opinions",
        [helper.make_tensor_value_info(takes, number, ["N", SAMPLES])],
        [helper.make_tensor_value_info("Identity:0", number, ["N", 3])],
        [helper.make_tensor("gains", number, [1, 3], [1.0, 2.0, 3.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_short_clip_is_doubled_until_it_is_long_enough() -> None:
    first, *later = segments(samples(30_000))
    assert first.tolist() == np.resize(samples(30_000), SAMPLES).tolist()
    assert len(later) == 240_000 // 16_000 - 10


@pytest.mark.parametrize(("seconds", "count"), [(9.01, 1), (10.9, 1), (11, 2), (12, 3), (20.5, 11)])
def test_a_stretch_is_heard_for_each_second_beyond_nine(seconds: float, count: int) -> None:
    heard = list(segments(samples(int(seconds * 16_000))))
    assert [len(one) for one in heard] == [SAMPLES] * count
    assert [one[0] for one in heard] == [16_000 * at for at in range(count)]


def test_opinions_are_calibrated_as_published_then_averaged() -> None:
    one = calibrated(np.array([[3.0, 3.0, 3.0]], np.float32))
    assert one == pytest.approx((2.912, 3.247, 2.783), abs=1e-3)
    apart = calibrated(np.array([[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]], np.float32))
    assert apart == pytest.approx((2.828, 3.115, 2.716), abs=1e-3)


def test_the_network_of_the_file_gives_the_opinion(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason=NEEDS)
    dnsmos = Dnsmos(network(tmp_path / "sig_bak_ovr.onnx"))
    opinion = dnsmos.opinion(torch.full((1, 1, 5000), 0.5))
    assert opinion == pytest.approx(calibrated(np.array([[0.5, 1.0, 1.5]], np.float32)), abs=1e-5)
    assert isinstance(opinion, Opinion)
    rising = torch.linspace(0, 1, 176_000)
    means = torch.stack([rising[start : start + SAMPLES].mean() for start in (0, 16_000)])
    expected = calibrated((means[:, None] * torch.tensor([1.0, 2.0, 3.0])).numpy())
    assert dnsmos.opinion(rising) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="one mono waveform"):
        dnsmos.opinion(torch.zeros(2, 5000))


def test_a_missing_file_and_another_network_are_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason=NEEDS)
    with pytest.raises(FileNotFoundError, match="needs the published"):
        Dnsmos(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"takes \['mel'\]"):
        Dnsmos(network(tmp_path / "other.onnx", takes="mel"))
