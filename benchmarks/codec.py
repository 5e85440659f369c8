"""Encoding one-second clips: ours against the released way, in one run, beside the machine's floor.

`python -m benchmarks.codec` prints a table and a JSON line. Weights are random in the released shape; the
released way is first held against ours code by code.
"""

import json
import platform
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.released import ReleasedCodec, random_state
from core.codec import CodecConfig, LLMCodec
from core.codec.checkpoint import canonical

CLIPS = 20
RELEASED_CLIPS = 3
ENCODER_OPERATIONS = 1.45e9
"""Floating-point operations of the encoder over a padded second."""


def seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    """The median of single calls after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def matrix_rate() -> float:
    """Operations per second of this machine's float32 matrix product."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / seconds_per_call(lambda: a @ b, 10)


def floor_seconds(config: CodecConfig, rate: float) -> float:
    """What the arithmetic of one padded second costs at the matrix rate."""
    frames = 40
    searches = sum(
        2 * frames / stride * size * config.latent_dim
        for size, stride in zip(config.codebook_sizes, config.vq_strides, strict=True)
    )
    return (ENCODER_OPERATIONS + searches) / rate


def our_codec(config: CodecConfig, state: dict[str, Tensor]) -> LLMCodec:
    """Ours with the same encoder and codebooks (the decoder is not measured here)."""
    codec = LLMCodec(config)
    tensors = codec.canonical()
    codec.load_canonical(tensors | canonical(state))
    return codec


def agreement(ours: list[Tensor], released: list[Tensor]) -> float:
    """Share of equal codes; near-ties of random weights may differ."""
    same = sum(int((a == b).sum()) for a, b in zip(ours, released, strict=True))
    return same / sum(a.numel() for a in ours)


def main() -> None:
    """Prints the table and the JSON line."""
    config = CodecConfig()
    generator = torch.Generator().manual_seed(0)
    state = random_state(config, generator)
    released, codec = ReleasedCodec(config, state), our_codec(config, state)
    second = torch.randn(1, 1, config.sample_rate, generator=generator) * 0.1
    figures = {
        "agreement": agreement(codec.encode(second), released.encode(second)),
        "ours_s": seconds_per_call(lambda: codec.encode(second), CLIPS),
        "released_s": seconds_per_call(lambda: released.encode(second), RELEASED_CLIPS),
        "floor_s": floor_seconds(config, matrix_rate()),
        "threads": torch.get_num_threads(),
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    figures["speedup"] = figures["released_s"] / figures["ours_s"]
    figures["over_floor"] = figures["ours_s"] / figures["floor_s"]
    print(f"Encoding 1-second clips, released shape, CPU ({platform.machine()}), one at a time")
    for name, value in figures.items():
        print(f"  {name:<16}{value:>10.4f}")
    print(json.dumps({"benchmark": "codec_encode", **figures}))


if __name__ == "__main__":
    main()
