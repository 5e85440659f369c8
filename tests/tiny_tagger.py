"""A tagger of a few weights, made with onnx: as a model's directory, or quantized as others publish it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.embeddings.description import EmbeddingDescription, file_sha256, write_description
from core.embeddings.front_end import LogMel, Waveform

NEEDS = "the packages onnx and onnxruntime are not installed"
CLASSES = ("Dog", "Rain, light", "Speech")
DIMENSIONS = 4
FRAMES = LogMel(
    frames=16,
    frame_length=400,
    hop_length=160,
    fft_length=512,
    mel_bins=8,
    min_hz=125.0,
    max_hz=7500.0,
    log_offset=0.001,
)
TAGGER = EmbeddingDescription(
    name="tiny-tagger",
    kind="tagger",
    sample_rate=16_000,
    window=2_800,
    hop=1_280,
    front_end=FRAMES,
    input="audio",
    embedding="embedding",
    scores="scores",
    classes=CLASSES,
    dimensions=DIMENSIONS,
    license="CC0-1.0",
    source="made for a test",
    sha256="",
)


def require_onnx() -> Any:
    """Skip the test where the packages of the extra are missing; return onnx."""
    pytest.importorskip("onnxruntime", reason=NEEDS)
    return pytest.importorskip("onnx", reason=NEEDS)


def write_tagger(directory: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write a model's directory whose description has these changes; return it."""
    onnx = require_onnx()
    description = replace(TAGGER, **changes)
    directory.mkdir(parents=True)
    onnx.save_model(_network(onnx, description, seed), directory / "model.onnx")
    network = file_sha256(directory / "model.onnx")
    write_description(directory, replace(description, sha256=changes.get("sha256", network)))
    return directory


def write_waveform_model(directory: Path) -> Path:
    """Write a model of another kind: it takes samples and gives an embedding alone."""
    onnx = require_onnx()
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    description = replace(
        TAGGER,
        name="tiny-waves",
        kind="embedding",
        front_end=Waveform(),
        input="samples",
        scores=None,
        classes=(),
        window=1_600,
        hop=800,
    )
    weights = np.random.default_rng(1).standard_normal((1_600, DIMENSIONS)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["samples", "weights"], ["embedding"])],
        "waves",
        [helper.make_tensor_value_info("samples", kind, ["batch", 1_600])],
        [helper.make_tensor_value_info("embedding", kind, ["batch", DIMENSIONS])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    directory.mkdir(parents=True)
    onnx.save_model(_model(onnx, graph), directory / "model.onnx")
    write_description(directory, replace(description, sha256=file_sha256(directory / "model.onnx")))
    return directory


def write_bands_model(directory: Path) -> Path:
    """Write a model that tells sounds apart: it gives the energy in each of eight bands, up to 8 kHz."""
    onnx = require_onnx()
    make, kind = onnx.helper.make_node, onnx.TensorProto.FLOAT
    window, bands, lines = 1_600, 8, 20
    description = replace(
        TAGGER, name="tiny-bands", kind="embedding", front_end=Waveform(), input="samples", scores=None
    )
    description = replace(description, classes=(), window=window, hop=window // 2, dimensions=bands)
    turns = np.outer(np.arange(window), np.arange(bands * lines) * window / 2 / bands / lines) / window
    waves = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1)
    sums = np.tile(np.repeat(np.eye(bands), lines, axis=0), (2, 1))
    graph = onnx.helper.make_graph(
        [
            make("MatMul", ["samples", "waves"], ["lines"]),
            make("Mul", ["lines", "lines"], ["powers"]),
            make("MatMul", ["powers", "sums"], ["embedding"]),
        ],
        "bands",
        [onnx.helper.make_tensor_value_info("samples", kind, ["batch", window])],
        [onnx.helper.make_tensor_value_info("embedding", kind, ["batch", bands])],
        [
            onnx.numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in {"waves": waves / window, "sums": sums}.items()
        ],
    )
    directory.mkdir(parents=True)
    onnx.save_model(_model(onnx, graph), directory / "model.onnx")
    write_description(directory, replace(description, sha256=file_sha256(directory / "model.onnx")))
    return directory


def write_quantized(path: Path, *, outputs: int = len(CLASSES), seed: int = 0) -> Path:
    """Write the tagger in eight bits with a fixed batch of one, and logits as its only output."""
    onnx = require_onnx()
    helper, kind = onnx.helper, onnx.TensorProto
    weights = _weights(seed, outputs)
    arrays = {**weights, "shape": np.array([1, -1], np.int64)}
    nodes = [helper.make_node("DequantizeLinear", ["audio", "audio_scale", "audio_zero"], ["heard"])]
    arrays |= {"audio_scale": np.float32(0.05), "audio_zero": np.uint8(140)}

    def rounded(name: str, scale: float, zero: Any) -> str:
        arrays.update({f"{name}_scale": np.float32(scale), f"{name}_zero": zero})
        by = [f"{name}_scale", f"{name}_zero"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *by], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *by], [f"{name}_qdq"]))
        return f"{name}_qdq"

    filters = rounded("filters", float(np.abs(weights["filters"]).max()) / 127, np.int8(0))
    classifier = rounded("classifier", float(np.abs(weights["classifier"]).max()) / 127, np.int8(0))
    nodes.append(helper.make_node("Conv", ["heard", filters], ["bands"]))
    nodes.append(helper.make_node("Relu", ["bands"], ["positive"]))
    nodes.append(helper.make_node("GlobalAveragePool", [rounded("positive", 0.1, np.uint8(0))], ["pooled"]))
    nodes.append(helper.make_node("Reshape", [rounded("pooled", 0.05, np.uint8(0)), "shape"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", classifier, "bias"], ["logits"], transB=1))
    nodes.append(helper.make_node("QuantizeLinear", ["logits", "out_scale", "out_zero"], ["class_scores"]))
    arrays |= {"out_scale": np.float32(0.05), "out_zero": np.uint8(128)}
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("audio", kind.UINT8, [1, 1, FRAMES.frames, FRAMES.mel_bins])],
        [helper.make_tensor_value_info("class_scores", kind.UINT8, [1, outputs])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    onnx.save_model(_model(onnx, graph), path)
    return path


def _network(onnx: Any, description: EmbeddingDescription, seed: int) -> Any:
    make, kind = onnx.helper.make_node, onnx.TensorProto.FLOAT
    nodes = [
        make("Conv", ["audio", "filters"], ["bands"]),
        make("Relu", ["bands"], ["positive"]),
        make("GlobalAveragePool", ["positive"], ["pooled"]),
        make("Flatten", ["pooled"], ["embedding"]),
        make("Gemm", ["embedding", "classifier", "bias"], ["logits"], transB=1),
        make("Sigmoid", ["logits"], ["scores"]),
    ]
    info: Callable[..., Any] = onnx.helper.make_tensor_value_info
    weights = _weights(seed, len(description.classes))
    graph = onnx.helper.make_graph(
        nodes,
        "tagger",
        [info("audio", kind, ["batch", 1, FRAMES.frames, FRAMES.mel_bins])],
        [
            info("embedding", kind, ["batch", DIMENSIONS]),
            info("scores", kind, ["batch", len(description.classes)]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return _model(onnx, graph)


def _weights(seed: int, classes: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "filters": rng.standard_normal((DIMENSIONS, 1, 3, 3)).astype(np.float32) / 3,
        "classifier": rng.standard_normal((classes, DIMENSIONS)).astype(np.float32),
        "bias": rng.standard_normal(classes).astype(np.float32),
    }


def _model(onnx: Any, graph: Any) -> Any:
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10, producer_name="test"
    )
