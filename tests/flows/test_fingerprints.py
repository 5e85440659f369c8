"""An LLM's files are hashed once, and again when they change."""

from pathlib import Path

from core.llama_directory import model_fingerprint
from flows.fingerprints import llm_fingerprint


def test_the_kept_fingerprint_is_that_of_the_files_and_follows_them(tmp_path: Path) -> None:
    model = tmp_path / "llama"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    first = llm_fingerprint(tmp_path / "home", model, "float32")
    assert (
        first == llm_fingerprint(tmp_path / "home", model, "float32") == model_fingerprint(model, "float32")
    )
    assert llm_fingerprint(tmp_path / "home", model, "bfloat16") != first
    (model / "model.safetensors").write_bytes(b"other weights")
    assert (
        llm_fingerprint(tmp_path / "home", model, "float32") == model_fingerprint(model, "float32") != first
    )
