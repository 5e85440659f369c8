"""From a quantized network with a fixed batch to a float one with a free batch, as an ONNX graph."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.embeddings.front_end import Features
from core.errors import CheckpointMismatch, MissingPackage

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
BATCH = "batch"


def float_network(original: Any, *, scores_are_logits: bool) -> Any:
    """Return the network in float with a free batch; outputs are `embedding` and, of a tagger, `scores`.

    The embedding is what the last matrix product takes, the scores are what it gives.
    """
    onnx = import_onnx()
    model = onnx.ModelProto()
    model.CopyFrom(original)
    graph = model.graph
    _leave_out_quantizing(onnx, graph)
    last = _last_product(graph)
    _free_batch(onnx, graph)
    scores = last.output[0]
    if scores_are_logits:
        graph.node.append(onnx.helper.make_node("Sigmoid", [scores], ["scores"]))
    else:
        graph.node.append(onnx.helper.make_node("Identity", [scores], ["scores"]))
    graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], ["embedding"]))
    weights = initializers(onnx, graph)
    classes, dimensions = _product_sizes(last, weights)
    del graph.output[:]
    kind = onnx.TensorProto.FLOAT
    graph.output.append(onnx.helper.make_tensor_value_info("embedding", kind, [BATCH, dimensions]))
    graph.output.append(onnx.helper.make_tensor_value_info("scores", kind, [BATCH, classes]))
    _drop_unused(graph)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return model


def _leave_out_quantizing(onnx: Any, graph: Any) -> None:
    """Let the weights be read as they are, and activations only be kept within the range of their integers.

    The range matters: on what is quieter than all that a file was calibrated by, the unbounded network gives
    embeddings several times as long, which then outweigh the rest of the clip.
    """
    weights = initializers(onnx, graph)
    outputs = {one.name for one in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == DEQUANTIZE:
            source[node.output[0]] = node.input[0]
        elif node.op_type != QUANTIZE:
            kept.append(node)
        elif node.input[0] in weights or node.output[0] in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(_clipped(onnx, graph, node, weights))
    kept = [_copied(onnx, node) for node in kept]
    for node in kept:
        node.input[:] = [_followed(name, source) for name in node.input]
    kept = _without_relus(kept, initializers(onnx, graph))
    for one in graph.output:
        one.name = _followed(one.name, source)
    del graph.node[:]
    graph.node.extend(kept)


def _clipped(onnx: Any, graph: Any, node: Any, weights: Mapping[str, Features]) -> Any:
    """Return a node that clips to the range of a quantizing one."""
    scale, zero = weights[node.input[1]], weights[node.input[2]]
    limits, bounds = integer_range(zero), list[str]()
    for end in (limits.min, limits.max):
        bounds.append(f"{node.output[0]}_{len(bounds)}")
        bound = np.asarray((float(end) - float(zero)) * float(scale), np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(bound, bounds[-1]))
    return onnx.helper.make_node("Clip", [node.input[0], *bounds], [node.output[0]])


def _without_relus(nodes: Sequence[Any], weights: Mapping[str, Features]) -> list[Any]:
    """Leave out what a clipping at 0 does anyway: a convolution and one clipping run as one step."""
    relus = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Relu"}
    readers = Counter(name for node in nodes for name in node.input)
    needless = set()
    for node in nodes:
        is_lone = node.op_type == "Clip" and node.input[0] in relus and readers[node.input[0]] == 1
        if is_lone and weights[node.input[1]] >= 0:
            needless.add(node.input[0])
            node.input[0] = relus[node.input[0]]
    return [node for node in nodes if node.output[0] not in needless]


def _copied(onnx: Any, node: Any) -> Any:
    """Return copies of nodes: those of a graph are gone when its list is emptied."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _followed(name: str, source: Mapping[str, str]) -> str:
    while name in source:
        name = source[name]
    return name


def _last_product(graph: Any) -> Any:
    """Return the node from the embedding to the scores."""
    outputs = [one.name for one in graph.output]
    made = [node for node in graph.node if node.output[0] in outputs]
    if len(made) != 1 or made[0].op_type not in ("Gemm", "MatMul"):
        ends = ", ".join(node.op_type for node in made) or "nothing"
        raise CheckpointMismatch(
            f"the network ends with {ends}: a tagger that can be converted has one output, made by one "
            "matrix product (Gemm or MatMul)"
        )
    return made[0]


def _free_batch(onnx: Any, graph: Any) -> None:
    """Name the first dimension of the input, and let every reshaping keep it."""
    weights = {one.name: one for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise CheckpointMismatch(f"the network takes {len(inputs)} inputs, one is needed")
    kind = inputs[0].type.tensor_type
    kind.elem_type = onnx.TensorProto.FLOAT
    kind.shape.dim[0].Clear()
    kind.shape.dim[0].dim_param = BATCH
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in weights:
            shape = onnx.numpy_helper.to_array(weights[node.input[1]]).copy()
            if shape[0] == 1:
                shape[0] = 0  # means: as it comes
                free = f"{node.input[1]}_free"
                graph.initializer.append(onnx.numpy_helper.from_array(shape, free))
                node.input[1] = free


def _product_sizes(last: Any, weights: Mapping[str, Features]) -> tuple[int, int]:
    """Return outputs and inputs of a matrix product."""
    if last.input[1] not in weights:
        raise CheckpointMismatch("the network's last matrix product has no fixed weights")
    shape = weights[last.input[1]].shape
    transposed = any(one.name == "transB" and one.i for one in last.attribute)
    return (shape[0], shape[1]) if transposed else (shape[1], shape[0])


def initializers(onnx: Any, graph: Any) -> dict[str, Features]:
    """Return the fixed tensors of a graph by name."""
    return {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def integer_range(zero: Any) -> Any:
    """Return the limits of a zero point's integers."""
    return np.iinfo(zero.dtype)


def import_onnx() -> Any:
    """Return the package onnx; raises MissingPackage."""
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise MissingPackage("converting embedding models", "onnx", "tagger") from error
    return onnx
