"""The codec on a device by batch and precision: seconds of audio per second, and what changes of its output.

Weights are random in the released shape. In half precision the convolutions and products of the encoder and
the decoder run under autocast, and codes are searched in float32. Random weights magnify rounding, so the
share of codes that differ is theirs and not that of a trained codec.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.codec import Direction
from benchmarks.device import Device, if_it_fits
from benchmarks.released import random_state
from core.codec import CodecConfig, LLMCodec
from core.codec.files.checkpoint import canonical, write_directory

ENCODE_BAR, CODES_BAR = 5000.0, 0.005
PRECISIONS = ("float32", "bfloat16", "float16")
JUDGED = "bfloat16"


@dataclass(frozen=True)
class CodecSizes:
    """What is measured."""

    config: CodecConfig = field(default_factory=CodecConfig)
    seconds: int = 5
    batches: tuple[int, ...] = (1, 16, 64)


@dataclass(frozen=True)
class CodecFigure:
    """rate: seconds of audio per second. different: against float32, the share of codes, or of decoded
    samples how far they are off, as a share of their size."""

    direction: Direction
    batch: int
    precision: str
    rate: float
    different: float

    def __str__(self) -> str:
        what = f"{self.direction} {self.batch:>4}, {self.precision}"
        return f"  {what:<24}{self.rate:>12.0f}{self.different:>12.3%}"


def title(sizes: CodecSizes) -> str:
    """Return the heading of the table."""
    return (
        f"Codec, random weights, clips of {sizes.seconds} s; differ: codes that are others than in float32, "
        "and how far decoded samples are off\n"
        f"  {'batch, precision':<24}{'audio s / s':>12}{'differ':>12}"
    )


def figures(device: Device, sizes: CodecSizes) -> Iterator[CodecFigure | str]:
    """Yield every batch, direction and precision."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # what the generator does not draw
        codec = _codec(device, sizes.config, generator)
    for batch in sizes.batches:
        shape = (batch, 1, sizes.seconds * sizes.config.sample_rate)
        clips = torch.randn(shape, generator=generator) * 0.1
        for measure in (_encoded, _decoded):
            for precision in PRECISIONS:
                what = f"codec, {measure.__name__.strip('_')} in a batch of {batch}, {precision}"
                yield if_it_fits(what, partial(measure, device, codec, clips, precision))


def bars(measured: Sequence[CodecFigure]) -> Iterator[tuple[str, bool]]:
    """Yield the fastest batch and the worst share, both as judged; nothing where none was measured."""
    judged = [f for f in measured if f.direction == "encode" and f.precision == JUDGED]
    if judged:
        fastest = max(judged, key=lambda figure: figure.rate)
        said = f"encode in {JUDGED}, batch {fastest.batch}: {fastest.rate:.0f} times real time"
        yield f"{said}, of {ENCODE_BAR:.0f}", fastest.rate >= ENCODE_BAR
        worst = max(figure.different for figure in judged)
        yield f"codes that differ in {JUDGED}: {worst:.3%}, of {CODES_BAR:.1%}", worst <= CODES_BAR


def _codec(device: Device, config: CodecConfig, generator: torch.Generator) -> LLMCodec:
    """Read from a directory, as a user's is."""
    with tempfile.TemporaryDirectory(prefix="wordwave-") as folder:
        directory = Path(folder) / "codec"
        write_directory(directory, config, canonical(random_state(config, generator)), ())
        return LLMCodec.from_directory(directory, str(device.at))


def _encoded(device: Device, codec: LLMCodec, clips: Tensor, precision: str) -> CodecFigure:
    exact = _joined(codec.encode(clips))
    with _precision(codec, precision):
        different = _joined(codec.encode(clips)) != exact
        seconds = device.seconds(lambda: codec.encode(clips))
    rate = _audio(codec, clips) / seconds
    return CodecFigure("encode", len(clips), precision, rate, float(different.double().mean()))


def _decoded(device: Device, codec: LLMCodec, clips: Tensor, precision: str) -> CodecFigure:
    codes = codec.encode(clips)
    exact = codec.decode(codes).cpu()
    with _precision(codec, precision):
        off = (codec.decode(codes).float().cpu() - exact).norm() / exact.norm()
        seconds = device.seconds(lambda: codec.decode(codes))
    return CodecFigure("decode", len(clips), precision, _audio(codec, clips) / seconds, float(off))


@contextmanager
def _precision(codec: LLMCodec, precision: str) -> Iterator[None]:
    """Autocast, but for the search of the codebooks."""
    where, dtype, search = codec.device.type, getattr(torch, precision), codec.quantizer.encode

    def in_float32(latents: Tensor) -> list[Tensor]:
        with torch.autocast(where, enabled=False):
            return search(latents.float())

    half = torch.autocast(where, dtype=dtype, enabled=dtype != torch.float32)
    with half, patch.object(codec.quantizer, "encode", in_float32):
        yield


def _joined(codes: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(codes), dim=1)


def _audio(codec: LLMCodec, clips: Tensor) -> float:
    """Seconds of the clips together."""
    return float(clips.numel() / codec.config.sample_rate)
