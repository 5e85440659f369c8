"""From the weights of a speaker encoder (GE2E, Wan et al. 2018) to an embedding model's directory.

Three LSTM layers read mel frames of 1.6 s; the last state is projected, cut off below 0 and scaled to length
1. Resemblyzer's package has such weights (Apache-2.0) as a pickle. That package also leaves pauses out; here
every window counts.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.embeddings.description import NETWORK, EmbeddingDescription, file_sha256, write_description
from core.embeddings.embedder import Embedder
from core.embeddings.float_network import import_onnx
from core.embeddings.mel_power import MelPower
from core.embeddings.pickle_reader import read_pickle
from core.errors import CheckpointMismatch

LAYERS = 3
MEL_BINS, FRAMES, HOP_LENGTH = 40, 160, 160
FRONT_END = MelPower(FRAMES, frame_length=400, hop_length=HOP_LENGTH, mel_bins=MEL_BINS, level_db=-30.0)
SAMPLE_RATE, WINDOW, HOP = 16_000, FRAMES * HOP_LENGTH, FRAMES * HOP_LENGTH // 2
PICKLE = "*pretrained.pt"
MIN_COSINE = 0.9999
"""Between what torch and the written network give."""
PROBES = 4
OPSET = 17

Weights = Mapping[str, Tensor]


def convert_voice(source: Path, output: Path) -> EmbeddingDescription:
    """Write `output`, which must not exist yet, from a pickle of weights or a wheel that has one.

    The pickle is read in a process of its own. Raises CheckpointMismatch, MissingPackage.
    """
    if output.exists():
        raise CheckpointMismatch(f"{output} exists already: converting writes a new directory")
    with tempfile.TemporaryDirectory() as made:
        weights, directory = _read(source, Path(made)), Path(made) / "model"
        directory.mkdir()
        import_onnx().save_model(_network(weights), directory / NETWORK)
        described = _described(source, directory / NETWORK, len(weights["linear.bias"]))
        write_description(directory, described)
        _verify(weights, Embedder(directory))
        shutil.copytree(directory, output)
    return described


def _read(source: Path, folder: Path) -> Weights:
    from safetensors.torch import load_file

    read_pickle(_pickle_of(source, folder), folder / "weights.safetensors")
    weights = load_file(folder / "weights.safetensors")
    if missing := {"linear.weight", "linear.bias", *_lstm_names()} - weights.keys():
        raise CheckpointMismatch(
            f"{source} lacks {sorted(missing)[0]} and {len(missing) - 1} more: it is no speaker encoder of "
            f"{LAYERS} LSTM layers"
        )
    if (found := weights["lstm.weight_ih_l0"].shape[1]) != MEL_BINS:
        raise CheckpointMismatch(f"{source} reads {found} mel bands, {MEL_BINS} are computed here")
    return weights


def _pickle_of(source: Path, folder: Path) -> Path:
    """Return the pickle, unpacked from a wheel if it is in one; a pickle of torch is a zip file too."""
    if source.suffix != ".whl":
        return source
    with zipfile.ZipFile(source) as wheel:
        names = [name for name in wheel.namelist() if Path(name).match(PICKLE)]
        if len(names) != 1:
            raise CheckpointMismatch(f"{source} has {len(names)} files {PICKLE}, one is needed")
        return Path(wheel.extract(names[0], folder))


def _lstm_names() -> Iterator[str]:
    for layer in range(LAYERS):
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            yield f"lstm.{part}_l{layer}"


def _described(source: Path, network: Path, dimensions: int) -> EmbeddingDescription:
    is_resemblyzer = source.suffix == ".whl" and source.name.lower().startswith("resemblyzer-")
    return EmbeddingDescription(
        name="voice",
        kind="embedding",
        sample_rate=SAMPLE_RATE,
        window=WINDOW,
        hop=HOP,
        front_end=FRONT_END,
        input="mel",
        embedding="embedding",
        scores=None,
        classes=(),
        dimensions=dimensions,
        license="Apache-2.0" if is_resemblyzer else "not stated",
        source="the speaker encoder of Resemblyzer (GE2E)" if is_resemblyzer else source.name,
        sha256=file_sha256(network),
    )


def _network(weights: Weights) -> Any:
    """Return the ONNX model: (windows, frames, bands) to unit vectors (windows, dimensions)."""
    helper, onnx = import_onnx().helper, import_onnx()
    size = len(weights["linear.bias"])
    nodes = [helper.make_node("Transpose", ["mel"], ["states0"], perm=[1, 0, 2])]
    tensors: dict[str, Any] = {}
    for layer in range(LAYERS):
        nodes += _lstm_nodes(helper, layer, tensors, weights)
    tensors |= {"linear": weights["linear.weight"].numpy(), "bias": weights["linear.bias"].numpy()}
    tensors["first"] = np.array([0], np.int64)
    nodes += [
        helper.make_node("Squeeze", [f"last{LAYERS}", "first"], ["state"]),
        helper.make_node("Gemm", ["state", "linear", "bias"], ["projected"], transB=1),
        helper.make_node("Relu", ["projected"], ["positive"]),
        helper.make_node("LpNormalization", ["positive"], ["embedding"], axis=1, p=2),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "voice",
        [helper.make_tensor_value_info("mel", kind, ["windows", FRAMES, MEL_BINS])],
        [helper.make_tensor_value_info("embedding", kind, ["windows", size])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(one), name) for name, one in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _lstm_nodes(helper: Any, layer: int, tensors: dict[str, Any], weights: Weights) -> list[Any]:
    """Return a layer, and add its weights: ONNX has the gates in another order than torch."""
    parts = [_gates(weights[f"lstm.{part}_l{layer}"]) for part in ("weight_ih", "weight_hh")]
    bias = torch.cat([_gates(weights[f"lstm.{part}_l{layer}"]) for part in ("bias_ih", "bias_hh")])
    names = [f"{name}{layer}" for name in ("input", "recurrence", "gates")]
    tensors |= {name: one[None].numpy() for name, one in zip(names, [*parts, bias], strict=True)}
    tensors[f"direction{layer}"] = np.array([1], np.int64)
    size = weights[f"lstm.weight_hh_l{layer}"].shape[1]
    outputs = [f"both{layer}", f"last{layer + 1}"]
    return [
        helper.make_node("LSTM", [f"states{layer}", *names], outputs, hidden_size=size),
        helper.make_node("Squeeze", [f"both{layer}", f"direction{layer}"], [f"states{layer + 1}"]),
    ]


def _gates(weight: Tensor) -> Tensor:
    """Return torch's gates, input, forget, cell and output, as input, output, forget and cell."""
    entry, forget, cell, out = weight.chunk(4)
    return torch.cat((entry, out, forget, cell))


@torch.inference_mode()
def _verify(weights: Weights, embedder: Embedder) -> None:
    """Ask torch and the network the same windows; raises CheckpointMismatch where they differ."""
    size, bands = weights["lstm.weight_hh_l0"].shape[1], weights["lstm.weight_ih_l0"].shape[1]
    lstm = nn.LSTM(bands, size, LAYERS, batch_first=True)
    lstm.load_state_dict({name.removeprefix("lstm."): weights[name] for name in _lstm_names()})
    rng = np.random.default_rng(0)
    for _ in range(PROBES):
        window = rng.standard_normal(WINDOW).astype(np.float32) * rng.uniform(0.001, 0.3)
        mel = FRONT_END.features(window, SAMPLE_RATE)
        last = lstm(torch.from_numpy(mel)[None])[0][0, -1]
        wanted = nn.functional.relu(weights["linear.weight"] @ last + weights["linear.bias"])
        given = torch.from_numpy(embedder.network.run([mel])[0].embedding)
        cosine = float(nn.functional.cosine_similarity(wanted, given, dim=0))
        if not cosine >= MIN_COSINE:
            raise CheckpointMismatch(
                f"the written network has a cosine of {cosine:.5f} to the weights' own, at least "
                f"{MIN_COSINE} is needed: onnxruntime computes another LSTM than torch"
            )
