"""The fingerprint of an LLM: its files are hashed once, then recognised by size and time."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.llama_directory import DType


def llm_fingerprint(home: Path, directory: Path, dtype: "DType") -> str:
    """Hex sha256 over the model's files and dtype. Hashing 13 GB takes a minute, so the answer is kept in
    `home` for as long as names, sizes and modification times of the files stay as they are."""
    from core.llama_directory import model_files, model_fingerprint

    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in model_files(directory)]
    state = json.dumps([str(directory.resolve()), dtype, files])
    kept = home / "fingerprints" / hashlib.sha256(state.encode()).hexdigest()
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(model_fingerprint(directory, dtype))
        partial.replace(kept)
    return kept.read_text()
