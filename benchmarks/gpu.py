"""What a GPU does: the codec, labeling and generation at full size, against what the device can do.

`python -m benchmarks.gpu [codec|labeling|generation ...]` prints tables, the bars and a JSON line. It needs
a CUDA device and no model: weights are random in the released shapes. A shape or batch that does not fit
the memory of the device is skipped, and named.
"""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import torch

from benchmarks import gpu_codec, gpu_generation, gpu_labeling
from benchmarks.device import Device
from benchmarks.gpu_codec import CodecFigure, CodecSizes
from benchmarks.gpu_generation import GenerationFigure
from benchmarks.gpu_labeling import LabelingFigure, LlamaSizes
from benchmarks.recorded import verdict

NAMES = ("codec", "labeling", "generation")
Figure = TypeVar("Figure", CodecFigure, LabelingFigure, GenerationFigure)


@dataclass(frozen=True)
class Part(Generic[Figure]):
    """A table, measured row by row as it is asked for, and its bars. A row that is a text was skipped."""

    title: str
    rows: Iterator[Figure | str]
    bars: Callable[[Sequence[Figure]], Iterator[tuple[str, bool]]]

    def report(self) -> dict[str, Any]:
        """Print the table and its bars, and return what the JSON line has about it."""
        print(self.title, flush=True)
        measured: list[Figure] = []
        skipped: list[str] = []
        for row in self.rows:
            print(f"  {row}" if isinstance(row, str) else row, flush=True)
            if isinstance(row, str):
                skipped.append(row)
            else:
                measured.append(row)
        reached = dict(self.bars(measured))
        print("\n".join(f"  {said} {verdict(passed)}" for said, passed in reached.items()), flush=True)
        return {"figures": [asdict(one) for one in measured], "skipped": skipped, "bars": reached}


def parts(device: Device, codec: CodecSizes, llama: LlamaSizes) -> dict[str, Part[Any]]:
    """By name; nothing is measured yet."""
    return {
        "codec": Part(gpu_codec.title(codec), gpu_codec.figures(device, codec), gpu_codec.bars),
        "labeling": Part(gpu_labeling.title(llama), gpu_labeling.figures(device, llama), gpu_labeling.bars),
        "generation": Part(
            gpu_generation.title(llama), gpu_generation.figures(device, llama), gpu_generation.bars
        ),
    }


def report(device: Device, names: Sequence[str], codec: CodecSizes, llama: LlamaSizes) -> dict[str, Any]:
    """Print the tables of some parts and the JSON line, which is also returned."""
    print(device, flush=True)
    said = {
        "benchmark": "gpu",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *names]),
        "device": device.figures(),
    }
    every = parts(device, codec, llama)
    said |= {name: every[name].report() for name in names}
    print(json.dumps(said))
    return said


def main(names: Sequence[str]) -> None:
    """End the program where a part is not known or no CUDA device is there."""
    if unknown := [name for name in names if name not in NAMES]:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device: run this on a machine with a GPU, with a CUDA build of torch")
    report(Device.measured(torch.device("cuda", 0)), names or NAMES, CodecSizes(), LlamaSizes())


if __name__ == "__main__":
    main(sys.argv[1:])
