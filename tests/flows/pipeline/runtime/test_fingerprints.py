"""A model's files are read in full once, and again when they change."""

import os
from pathlib import Path

from core.llama.files import model_fingerprint
from flows.pipeline.runtime.fingerprints import codec_fingerprint, llm_fingerprint


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


def test_an_llm_rewritten_in_place_with_its_old_size_and_time_is_read_again(tmp_path: Path) -> None:
    model = tmp_path / "llama"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = model / "model.safetensors"
    weights.write_bytes(b"weights")
    first, times = llm_fingerprint(tmp_path / "home", model, "float32"), weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert llm_fingerprint(tmp_path / "home", model, "float32") != first


def test_a_codec_is_loaded_for_its_fingerprint_only_where_its_files_changed(tmp_path: Path) -> None:
    codec, home, loaded = tmp_path / "codec", tmp_path / "home", list[str]()
    codec.mkdir()
    for name in ("config.json", "model.safetensors"):
        (codec / name).write_text("first")

    def compute() -> str:
        loaded.append((codec / "model.safetensors").read_text())
        return f"fingerprint of {loaded[-1]}"

    first = [codec_fingerprint(home, codec, compute) for _ in range(2)]
    times = (codec / "model.safetensors").stat()
    (codec / "model.safetensors").write_text("other")
    os.utime(codec / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert codec_fingerprint(home, codec, compute) == "fingerprint of other"
    assert (first, loaded) == (["fingerprint of first"] * 2, ["first", "other"])
    (codec / "words.txt").write_text("words")
    codec_fingerprint(home, codec, compute)
    assert len(loaded) == 3
