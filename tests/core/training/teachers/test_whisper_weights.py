"""A CTranslate2 Whisper becomes the same network in transformers, and nothing else becomes one."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.embeddings.description import file_sha256
from core.errors import CheckpointMismatch
from core.llama.huggingface import transformers
from core.training.teachers.ctranslate2_file import read_model
from core.training.teachers.whisper_weights import convert_whisper, whisper_model

TYPES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.float16: 4}


def tiny_whisper(seed: int = 0) -> transformers.WhisperModel:
    """Layers of other numbers than heads, so that no size can stand for another."""
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        vocab_size=96,
        d_model=32,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=40,
        num_mel_bins=80,
        max_target_positions=24,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    model = transformers.WhisperModel(config).eval()
    for tensor in model.state_dict().values():
        tensor.copy_((tensor + 0.02 * torch.randn(tensor.shape)).half().float())
    return model


def stored_tensors(model: transformers.WhisperModel) -> dict[str, Tensor]:
    """The tensors as CTranslate2's own converter lays them out."""
    tensors: dict[str, Tensor] = {}
    for part, module, heads in (
        ("encoder", model.encoder, model.config.encoder_attention_heads),
        ("decoder", model.decoder, model.config.decoder_attention_heads),
    ):
        tensors[f"{part}/num_heads"] = torch.tensor(heads, dtype=torch.int16)
        tensors[f"{part}/position_encodings/encodings"] = module.embed_positions.weight
        _norm(tensors, f"{part}/layer_norm", module.layer_norm)
        for number, layer in enumerate(module.layers):
            prefix = f"{part}/layer_{number}"
            _norm(tensors, f"{prefix}/self_attention/layer_norm", layer.self_attn_layer_norm)
            own = layer.self_attn
            _linear(tensors, f"{prefix}/self_attention/linear_0", own.q_proj, own.k_proj, own.v_proj)
            _linear(tensors, f"{prefix}/self_attention/linear_1", own.out_proj)
            if part == "decoder":
                across = layer.encoder_attn
                _norm(tensors, f"{prefix}/attention/layer_norm", layer.encoder_attn_layer_norm)
                _linear(tensors, f"{prefix}/attention/linear_0", across.q_proj)
                _linear(tensors, f"{prefix}/attention/linear_1", across.k_proj, across.v_proj)
                _linear(tensors, f"{prefix}/attention/linear_2", across.out_proj)
            _norm(tensors, f"{prefix}/ffn/layer_norm", layer.final_layer_norm)
            _linear(tensors, f"{prefix}/ffn/linear_0", layer.fc1)
            _linear(tensors, f"{prefix}/ffn/linear_1", layer.fc2)
    for name in ("conv1", "conv2"):
        _linear(tensors, f"encoder/{name}", getattr(model.encoder, name))
    tensors["decoder/embeddings/weight"] = model.decoder.embed_tokens.weight
    for name in ("activation", "alibi", "pre_norm", "scale_embeddings", "start_from_zero_embedding"):
        tensors[f"decoder/{name}"] = torch.tensor(
            int(name == "pre_norm") + 3 * (name == "activation"), dtype=torch.int8
        )
    for name, value in (("alignment_heads", 1), ("alignment_layer", -1)):
        tensors[f"decoder/{name}"] = torch.tensor(value, dtype=torch.int16)
    return {name: tensor.detach() for name, tensor in sorted(tensors.items())}


def _norm(tensors: dict[str, Tensor], name: str, module: torch.nn.LayerNorm) -> None:
    tensors |= {f"{name}/gamma": module.weight, f"{name}/beta": module.bias}


def _linear(tensors: dict[str, Tensor], name: str, *modules: Any) -> None:
    biases = [torch.zeros(len(one.weight)) if one.bias is None else one.bias for one in modules]
    tensors |= {
        f"{name}/weight": torch.cat([one.weight for one in modules]),
        f"{name}/bias": torch.cat(biases),
    }


def write_model(
    folder: Path, tensors: dict[str, Tensor], kind: str = "WhisperSpec", version: int = 6
) -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(tensors))
    for name, tensor in tensors.items():
        half = tensor.half() if tensor.is_floating_point() else tensor
        raw = half.contiguous().numpy().tobytes()
        data += (
            text(name)
            + struct.pack(f"<B{half.dim()}IBI", half.dim(), *half.shape, TYPES[half.dtype], len(raw))
            + raw
        )
    data += struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")
    folder.mkdir(exist_ok=True)
    (folder / "model.bin").write_bytes(data)
    return folder


def write_texts(folder: Path) -> Path:
    """Beside the weights CTranslate2 reads what ids mean."""
    words = ["<|endoftext|>", "<|startoftranscript|>", *(f"w{number}" for number in range(94))]
    (folder / "vocabulary.json").write_text(json.dumps(words))
    (folder / "config.json").write_text(
        json.dumps(
            {"suppress_ids": [], "suppress_ids_begin": [], "alignment_heads": [[1, 0]], "lang_ids": [3]}
        )
    )
    return folder


def test_every_weight_comes_back_exactly_and_the_directory_loads(tmp_path: Path) -> None:
    model = tiny_whisper()
    source = write_model(tmp_path / "stored", stored_tensors(model))
    (source / "tokenizer.json").write_text("{}")
    written = convert_whisper(source, tmp_path / "out")
    loaded = transformers.WhisperModel.from_pretrained(tmp_path / "out", local_files_only=True)
    expected = model.state_dict()
    assert {n: t.shape for n, t in loaded.state_dict().items()} == {n: t.shape for n, t in expected.items()}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert (loaded.dtype, loaded.config.encoder_attention_heads) == (torch.float32, 4)
    assert written.sha256 == file_sha256(tmp_path / "out" / "model.safetensors")
    assert written.source_sha256 == file_sha256(source / "model.bin")
    assert json.loads((tmp_path / "out" / "source.json").read_text())["license"].startswith("MIT")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    transformers.WhisperFeatureExtractor.from_pretrained(tmp_path / "out", local_files_only=True)


def test_ctranslate2_computes_the_same(tmp_path: Path) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    source = write_texts(write_model(tmp_path / "stored", stored_tensors(tiny_whisper())))
    features = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32)
    runtime = ctranslate2.models.Whisper(str(source), device="cpu", compute_type="float32")
    expected = np.array(runtime.encode(ctranslate2.StorageView.from_array(features), to_cpu=True))
    with torch.no_grad():
        given = whisper_model(read_model(source / "model.bin")).encoder(torch.from_numpy(features))
    assert np.abs(given.last_hidden_state.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("cut", [0, 3, 30, 200, 20_000, -1])
def test_a_file_that_is_cut_off_is_no_model(tmp_path: Path, cut: int) -> None:
    source = write_model(tmp_path / "stored", stored_tensors(tiny_whisper()))
    data = (source / "model.bin").read_bytes()
    tensors_end = len(data) - len(b"decoder/projection/weight.decoder/embeddings/weight.") - 8
    (source / "model.bin").write_bytes(data[: cut if cut >= 0 else tensors_end - 1])
    with pytest.raises(CheckpointMismatch):
        convert_whisper(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_whisper_is_refused_with_a_reason(tmp_path: Path) -> None:
    tensors = stored_tensors(tiny_whisper())
    weight = "encoder/layer_0/ffn/linear_0/weight"
    refused = {
        "is a BertSpec": write_model(tmp_path / "kind", tensors, "BertSpec"),
        "begins with 5": write_model(tmp_path / "version", tensors, version=5),
        "lacks": write_model(tmp_path / "less", {n: t for n, t in tensors.items() if n != weight}),
        "whole numbers": write_model(tmp_path / "int8", tensors | {f"{weight}_scale": torch.ones(48)}),
        "no model.bin": tmp_path,
    }
    for reason, source in refused.items():
        with pytest.raises(CheckpointMismatch, match=reason):
            convert_whisper(source, tmp_path / "out")
    with pytest.raises(CheckpointMismatch, match="exists already"):
        convert_whisper(tmp_path / "kind", tmp_path / "kind")
