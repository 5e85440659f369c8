"""The network of an embedding model, run by onnxruntime in batches of one fixed shape.

A batch is always full: missing rows are zeros. The output of a window must not depend on its row nor on the
other rows. This is tried when a network is loaded; one that fails runs in batches of one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.embeddings.description import NETWORK, EmbeddingDescription, file_sha256
from core.embeddings.front_end import Features
from core.errors import CheckpointMismatch, MissingPackage

ROWS = 16
"""Windows of a batch."""


class WindowOutput(NamedTuple):
    """The network's output for one window: embedding (D,) and, of a tagger, scores (classes,)."""

    embedding: Features
    scores: Features | None


class Network:
    """A checked ONNX network. `threads` are those of one batch on a CPU.

    Raises CheckpointMismatch for a file that is not the described one, MissingPackage without onnxruntime.
    """

    def __init__(
        self, directory: Path, description: EmbeddingDescription, *, device: str = "cpu", threads: int = 1
    ) -> None:
        path = directory / NETWORK
        if (found := file_sha256(path)) != description.sha256:
            raise CheckpointMismatch(
                f"{path} has the sha256 {found[:12]}, embedding.json says {description.sha256[:12]}: the "
                "file was changed or cut off; convert the model again"
            )
        self._described = description
        self._shape = description.front_end.shape(description.window, description.sample_rate)
        self._session = open_session(path, device, threads)
        self._row_shape = self._checked_row_shape()
        self._outputs = self._checked_outputs()
        self.rows = ROWS
        if not self._has_equal_rows():
            self.rows = 1

    def run(self, windows: Sequence[Features]) -> list[WindowOutput]:
        """Return the output of each window, at most `rows` of them."""
        batch = np.zeros((self.rows, *self._row_shape), np.float32)
        for row, window in enumerate(windows):
            batch[row] = window.reshape(self._row_shape)
        outputs = self._session.run(self._outputs, {self._described.input: batch})
        embedding = outputs[0].reshape(self.rows, -1)
        scores = outputs[1] if len(outputs) > 1 else [None] * self.rows
        return [WindowOutput(embedding[row], scores[row]) for row in range(len(windows))]

    def _checked_row_shape(self) -> tuple[int, ...]:
        """Return the shape of a row of the input: that of the features, and dimensions of 1."""
        taken = {one.name: one for one in self._session.get_inputs()}
        name = self._described.input
        if list(taken) != [name]:
            raise CheckpointMismatch(f"the network takes {_listed(taken)}, embedding.json says {name}")
        free, *row = taken[name].shape
        if isinstance(free, int) or not all(isinstance(size, int) for size in row):
            raise CheckpointMismatch(
                f"the network takes {name} of shape {taken[name].shape}: the first dimension must be free "
                "and the others fixed; wordwave models convert-embedding frees it"
            )
        if [size for size in row if size != 1] != [size for size in self._shape if size != 1]:
            raise CheckpointMismatch(
                f"the network takes rows of shape {tuple(row)}, the front end gives {self._shape}: "
                "embedding.json belongs to another network"
            )
        return tuple(row)

    def _checked_outputs(self) -> list[str]:
        given = {one.name: one.shape for one in self._session.get_outputs()}
        wanted = {self._described.embedding: self._described.dimensions}
        if self._described.scores:
            wanted[self._described.scores] = len(self._described.classes)
        for name, size in wanted.items():
            if name not in given:
                raise CheckpointMismatch(f"the network gives {_listed(given)}, embedding.json names {name}")
            if given[name][-1] != size:
                raise CheckpointMismatch(
                    f"the network's output {name} has {given[name][-1]} numbers, embedding.json and its "
                    f"classes say {size}"
                )
        return list(wanted)

    def _has_equal_rows(self) -> bool:
        """Whether a window gives the same bits in every row, among equal windows and among others."""
        drawn = list(np.random.default_rng(0).standard_normal((self.rows, *self._shape), np.float32))
        (alone,) = self.run(drawn[:1])
        together = [self.run(drawn[:1] * self.rows), self.run([*drawn[1:], drawn[0]])[-1:]]
        return all(_same(alone, one) for batch in together for one in batch)


def open_session(path: Path, device: str = "cpu", threads: int = 1) -> Any:
    """Open an ONNX file; raises MissingPackage, CheckpointMismatch."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackage("embedding models", "onnxruntime", "tagger") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the codec needs these cores
    try:
        return onnxruntime.InferenceSession(path, options, providers=_providers(onnxruntime, device))
    except Exception as error:  # onnxruntime has no common error of its own
        raise CheckpointMismatch(f"onnxruntime cannot open {path}: {error}") from error


def _providers(onnxruntime: Any, device: str) -> list[Any]:
    """Return the execution providers, CUDA first if it is requested and this onnxruntime has it."""
    cpu = "CPUExecutionProvider"
    if not device.startswith("cuda") or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return [cpu]
    number = int(device.partition(":")[2] or 0)
    # searching for the fastest algorithm would take another one each time, and TF32 would change the numbers
    exact = {"device_id": number, "cudnn_conv_algo_search": "DEFAULT", "use_tf32": 0}
    return [("CUDAExecutionProvider", exact), cpu]


def _same(one: WindowOutput, other: WindowOutput) -> bool:
    scores = one.scores is None or np.array_equal(one.scores, other.scores)  # type: ignore[arg-type]
    return scores and np.array_equal(one.embedding, other.embedding)


def _listed(names: Any) -> str:
    return ", ".join(names) or "nothing"
