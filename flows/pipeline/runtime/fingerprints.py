"""Fingerprints of models and work. Files are hashed once, then recognized by size and time."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from core.codec.files.directory import codec_files
from core.llama.files import DType, model_files, model_fingerprint
from flows.pipeline.runtime.code_version import code_version


def work_key(*parts: str) -> bytes:
    """Return the key of the work on one question by all that decides its answer."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


def llm_fingerprint(home: Path, directory: Path, dtype: DType) -> str:
    """Return the hex sha256 over the model's files and dtype.

    Hashing 13 GB takes a minute, so the result is kept in `home` until the files change.
    """
    files = [(path.name, *_state(path)) for path in model_files(directory)]
    state = [str(directory.resolve()), dtype, files]
    return _kept(home, state, lambda: model_fingerprint(directory, dtype))


def codec_fingerprint(home: Path, directory: Path, compute: Callable[[], str]) -> str:
    """Return the codec's fingerprint, which only a loaded codec can compute.

    The result is kept in `home` until the files or the code that reads them change.
    """
    files = [(path.name, *_state(path)) for path in codec_files(directory)]
    return _kept(home, ["codec", str(directory.resolve()), code_version(), files], compute)


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes with any write to a file, even if its old modification time is set again."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _kept(home: Path, state: object, compute: Callable[[], str]) -> str:
    kept = home / "fingerprints" / hashlib.sha256(json.dumps(state).encode()).hexdigest()
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(compute())
        partial.replace(kept)
    return kept.read_text()
