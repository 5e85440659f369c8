"""Reader of CTranslate2's `model.bin`, without its runtime: names, shapes, types and bytes in a row.

All numbers are little-endian; a text has its length with a zero byte behind it. Aliases at the end name
tensors that are there already.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.errors import CheckpointMismatch

BINARY_VERSION = 6
FLOATS = {0: torch.float32, 4: torch.float16, 5: torch.bfloat16}
INTEGERS = {1: torch.int8, 2: torch.int16, 3: torch.int32}
MAX_RANK = 8


@dataclass(frozen=True, eq=False)
class StoredModel:
    """What kind of model a file holds, and its tensors by name; aliases are left out."""

    kind: str
    tensors: dict[str, Tensor]


def read_model(path: Path) -> StoredModel:
    """Read a `model.bin`. Raises CheckpointMismatch for another file, and for one that is cut off."""
    reader = _Reader(path)
    if (version := reader.number("I")) != BINARY_VERSION:
        raise CheckpointMismatch(
            f"{path} begins with {version}, a CTranslate2 model of version {BINARY_VERSION} with "
            f"{BINARY_VERSION}: convert the model again with a current CTranslate2"
        )
    kind = reader.text()
    reader.number("I")  # the revision of the kind, which names of tensors tell better
    return StoredModel(kind, dict(reader.tensors()))


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path, self._data, self._at = path, memoryview(path.read_bytes()), 0

    def take(self, count: int) -> memoryview:
        """Return the next bytes."""
        if count > len(self._data) - self._at:
            raise CheckpointMismatch(
                f"{self._path} ends after {len(self._data)} bytes, where {count} more from byte {self._at} "
                "are needed: the file is cut off, or is no CTranslate2 model"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, kind: str) -> int:
        """Return the next whole number of a struct format."""
        (value,) = struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))
        return int(value)

    def text(self) -> str:
        """Return the next text."""
        return bytes(self.take(self.number("H"))).rstrip(b"\0").decode(errors="replace")

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all tensors with their names."""
        for _ in range(self.number("I")):
            name = self.text()
            yield name, self._tensor(name)

    def _tensor(self, name: str) -> Tensor:
        if (rank := self.number("B")) > MAX_RANK:
            raise CheckpointMismatch(f"{name} in {self._path} has {rank} dimensions, at most {MAX_RANK} are")
        shape = [self.number("I") for _ in range(rank)]
        kind = (FLOATS | INTEGERS).get(self.number("B"))
        data = self.take(self.number("I"))
        if kind is None or len(data) != kind.itemsize * torch.Size(shape).numel():
            raise CheckpointMismatch(
                f"{name} in {self._path} has {len(data)} bytes, which is no {shape} of a known type: the "
                "file is damaged, or is no CTranslate2 model"
            )
        return torch.frombuffer(bytearray(data), dtype=kind).reshape(shape)
