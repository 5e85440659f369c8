"""Features of a training's clips, computed once and kept in files, so that a pass that is stopped goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

CLIPS_A_FILE = 64


def kept_features(folder: Path, count: int, features: Callable[[int], Tensor]) -> list[Tensor]:
    """Return the features (F, D) float16 of clips 0 to count - 1, computing those that no file has."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, CLIPS_A_FILE)
    kept = []
    for start in tqdm(starts, desc=folder.name, unit="file", disable=_is_whole(folder, starts)):
        path = _path(folder, start)
        if not path.exists():
            rows = [features(number) for number in range(start, min(start + CLIPS_A_FILE, count))]
            _write(path, rows)
        kept += list(_read(path))
    return kept


def kept_tensor(path: Path, compute: Callable[[], Tensor]) -> Tensor:
    """Return the tensor of a file, computing it if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _save({"values": compute().contiguous()}, path)
    return load_file(path)["values"]


def _path(folder: Path, start: int) -> Path:
    return folder / f"{start:06}.safetensors"


def _is_whole(folder: Path, starts: range) -> bool:
    return all(_path(folder, start).exists() for start in starts)


def _write(path: Path, rows: list[Tensor]) -> None:
    sizes = torch.tensor([len(one) for one in rows])
    _save({"values": torch.cat(rows).half().contiguous(), "sizes": sizes}, path)


def _read(path: Path) -> Iterator[Tensor]:
    stored = load_file(path)
    yield from torch.split(stored["values"], stored["sizes"].tolist())


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file completely or not at all."""
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)
