"""DNSMOS P.835 (Reddy et al. 2022): what listeners would say of speech, without a clean clip to compare with.

The network is Microsoft's `sig_bak_ovr.onnx`, which does not come with this project. It hears 9.01 s at a
time; how clips are brought to that length and how its outputs are calibrated is as its authors published it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

SAMPLE_RATE = 16_000
SAMPLES = 144_160
"""What the network hears at once: 9.01 s."""
INPUT = "input_1"

SIGNAL = (-0.08397278, 1.22083953, 0.0052439)
BACKGROUND = (-0.13166888, 1.60915514, -0.39604546)
OVERALL = (-0.06766283, 1.11546468, 0.04602535)
"""Polynomials from outputs to opinions, the highest power first."""

Samples = npt.NDArray[np.float32]


class Opinion(NamedTuple):
    """Mean opinion scores, about 1 to 5: of the speech itself, of how little the rest intrudes, of both."""

    signal: float
    background: float
    overall: float


class Dnsmos:
    """The network of an ONNX file.

    Raises ImportError without the package `onnxruntime`, FileNotFoundError without the file, ValueError for
    another network.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime  # a compiled package, which only measuring needs

        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file: DNSMOS needs the published sig_bak_ovr.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # sums would depend on how many there are
        self._network = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if (names := [one.name for one in self._network.get_inputs()]) != [INPUT]:
            raise ValueError(
                f"{path} takes {names}, DNSMOS P.835 takes {INPUT}: give the published sig_bak_ovr.onnx"
            )

    def opinion(self, waveform: Tensor) -> Opinion:
        """Of one mono waveform, (T,) or (1, 1, T) float32 at 16 kHz."""
        if waveform.shape[-1] != waveform.numel() or not waveform.numel():
            raise ValueError(f"one mono waveform is needed, got shape {tuple(waveform.shape)}")
        samples: Samples = waveform.detach().cpu().reshape(-1).float().numpy()
        outputs = [self._network.run(None, {INPUT: heard[None]})[0] for heard in segments(samples)]
        return calibrated(np.concatenate(outputs))


def segments(samples: Samples) -> Iterator[Samples]:
    """Yield the stretches that the network hears, a second apart.

    A short clip is doubled until it is long enough. How many stretches there are is the authors' rule, by
    which up to two seconds at a clip's end are not heard.
    """
    while len(samples) < SAMPLES:
        samples = np.concatenate((samples, samples))
    for start in range(0, max(1, len(samples) // SAMPLE_RATE - 9) * SAMPLE_RATE, SAMPLE_RATE):
        yield samples[start : start + SAMPLES]


def calibrated(outputs: npt.NDArray[np.float32]) -> Opinion:
    """Return the mean opinion over segments; outputs (segments, 3)."""
    rows = outputs.astype(np.float64).T
    fits = zip((SIGNAL, BACKGROUND, OVERALL), rows, strict=True)
    return Opinion(*(float(np.polyval(fit, row).mean()) for fit, row in fits))
