"""Small libraries for generation, a random LLM that answers by them, and what its answers left behind."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from core.decoding.audio_stream import Samples
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.job import Generated, run_denoising, run_texts
from flows.pipeline.generation.request import AudioRequest, DenoisingMethod
from flows.pipeline.generation.texts import Texts, given_texts
from flows.pipeline.libraries.library import LibraryTask, import_manifest
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import RATE, hiss, rows, tone, write_clip

SPOKEN = {"one": 300.0, "two": 900.0}
"""A tone for each text: what a random model answers has no meaning anyway."""


@contextmanager
def generating(settings: Settings, llm: Path | None) -> Iterator[Runtime]:
    """A process whose LLM answers with audio."""
    name = None if llm is None else str(llm)
    runtime = Runtime(settings.model_copy(update={"generation_llm": name}))
    try:
        yield runtime
    finally:
        runtime.close()


def import_spoken(runtime: Runtime, folder: Path, task: LibraryTask = "speech") -> str:
    """A library `spoken` of two takes of each text."""
    lines = []
    for text, hertz in SPOKEN.items():
        for take in range(2):
            write_clip(folder / f"{text}-{take}.wav", tone(hertz, 0.72, seed=take))
            lines.append({"path": f"{text}-{take}.wav", "text": text})
    return _import(runtime, folder, "spoken", lines, task)


def import_pairs(runtime: Runtime, folder: Path) -> str:
    """A library `street` of two noisy clips and their clean ones."""
    lines = []
    for number, hertz in enumerate(SPOKEN.values()):
        clean = tone(hertz, 0.96, seed=number)
        write_clip(folder / f"clean-{number}.wav", clean)
        write_clip(folder / f"noisy-{number}.wav", clean + hiss(0.96, seed=number))
        lines.append({"path": f"noisy-{number}.wav", "target": f"clean-{number}.wav"})
    return _import(runtime, folder, "street", lines, "denoise")


def import_voiced(runtime: Runtime, folder: Path) -> str:
    """A library `street` of two pairs in which a spectral gate brings noisy clips nearer to clean ones."""
    lines = []
    for number, pitch in enumerate((150.0, 220.0)):
        clean = voiced(pitch, 0.96)
        write_clip(folder / f"clean-{number}.wav", clean)
        write_clip(folder / f"noisy-{number}.wav", clean + hiss(0.96, seed=number))
        lines.append({"path": f"noisy-{number}.wav", "target": f"clean-{number}.wav"})
    return _import(runtime, folder, "street", lines, "denoise")


def voiced(pitch: float, seconds: float) -> Samples:
    """Syllables: harmonics that glide, and swell four times a second."""
    time = np.arange(int(seconds * RATE)) / RATE
    glide = pitch * (1 + 0.2 * np.sin(2 * np.pi * 2 * time)) * time
    harmonics = sum(np.sin(2 * np.pi * number * glide) / number for number in range(1, 13))
    swell = np.maximum(0, np.sin(2 * np.pi * 4 * time)) ** 2
    return (0.3 * swell * harmonics).astype(np.float32)


def _import(runtime: Runtime, folder: Path, name: str, lines: list[dict[str, str]], task: LibraryTask) -> str:
    manifest = folder / f"{name}.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return import_manifest(runtime, name, str(manifest), task, promote=True)[0].name


def speak(runtime: Runtime, *texts: str, seconds: float = 0.72, **request: Any) -> Generated:
    """A run by the library `spoken`."""
    return speak_texts(runtime, given_texts(texts), seconds=seconds, **request)


def speak_texts(runtime: Runtime, texts: Texts, seconds: float = 0.72, **request: Any) -> Generated:
    wanted = replace(AudioRequest("spoken", seconds=seconds), **request)
    return run_texts(runtime, "speech", wanted, texts, with_bar)


def denoise(
    runtime: Runtime,
    folder: Path,
    seconds: float = 0.48,
    method: DenoisingMethod = "auto",
    **request: Any,
) -> Generated:
    """A run by the library `street`."""
    wanted = replace(AudioRequest("street", seconds=seconds), **request)
    return run_denoising(runtime, partition_of(str(folder)), wanted, with_bar, method=method)


def stored(engine: Engine) -> list[tuple[object, ...]]:
    """What is generated and stands, without what chance and the clock decide."""
    return rows(
        engine,
        "SELECT task, text, content_sha256, semantic, acoustic1, acoustic2, duration, uri, sha256, metrics, "
        "is_demonstration, provenance, seed FROM generated_audio WHERE retracted_by_run IS NULL "
        "ORDER BY work_key",
    )


def objects(settings: Settings) -> dict[str, bytes]:
    """Every object below generated/, by name."""
    folder = Path(settings.storage_uri, "generated")
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}
