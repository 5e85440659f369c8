"""A Piper voice is read from its directory; its phonemes have ids with nothing between any two."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from core.errors import CheckpointMismatch
from core.training.data import neural_voice
from core.training.data.clips import VOICE, BankSpec, make_clips, write_bank
from core.training.data.families import SAMPLE_RATE
from core.training.data.neural_voice import NeuralVoice, phoneme_ids
from tests.tiny_tagger import require_onnx

IDS = {"_": [0], "^": [1], "$": [2], " ": [3], "a": [4], "\u0303": [5]}


def test_phonemes_are_taken_apart_and_unknown_ones_left_out() -> None:
    assert phoneme_ids("\u00e3 a?", IDS) == [1, 0, 4, 0, 5, 0, 3, 0, 4, 0, 2]


def write_voice(folder: Path) -> Path:
    """Write a network that gives a hundredth of each id, a hundred samples long, at 22,050 Hz."""
    onnx = require_onnx()
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input"], ["floats"], to=kind.FLOAT),
            helper.make_node("MatMul", ["column", "floats"], ["rows"]),
            helper.make_node("Unsqueeze", ["rows", "axes"], ["output"]),
            helper.make_node("Identity", ["input_lengths"], ["unused"]),
            helper.make_node("Identity", ["scales"], ["unused too"]),
        ],
        "voice",
        [
            helper.make_tensor_value_info("input", kind.INT64, [1, "phonemes"]),
            helper.make_tensor_value_info("input_lengths", kind.INT64, [1]),
            helper.make_tensor_value_info("scales", kind.FLOAT, [3]),
        ],
        [helper.make_tensor_value_info("output", kind.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(np.full((100, 1), 0.01, np.float32), "column"),
            onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    folder.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, folder / "en-tiny.onnx")
    described = {
        "audio": {"sample_rate": 22_050},
        "espeak": {"voice": "en-us"},
        "inference": {"noise_scale": 0.667, "noise_w": 0.8, "length_scale": 1},
        "phoneme_id_map": IDS,
    }
    (folder / "en-tiny.onnx.json").write_text(json.dumps(described))
    (folder / "MODEL_CARD").write_text("# card\n\n* License: CC0\n")
    return folder


def test_a_voice_speaks_in_the_bank_and_names_its_license(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural_voice, "phonemes", lambda text, language: "a a")
    voice = NeuralVoice(write_voice(tmp_path / "voice"))
    assert (voice.name, voice.license, len(voice.sha256)) == ("en-tiny", "CC0", 64)
    assert len(voice.speak("two")) == math.ceil(100 * 9 / 22_050 * SAMPLE_RATE)
    bank = write_bank(tmp_path / "bank", make_clips(BankSpec(1, 0, 1, 0.3, 1, voice_phrases=3), (), voice))
    assert bank.kinds == ["sound", VOICE, VOICE, VOICE]
    assert [len(text.split()) for text in bank.texts[1:]] == [3, 3, 3]
    assert bank.captions[1:] == bank.texts[1:]
    assert bank.captions[0].startswith("the sound of ")


def test_a_folder_without_one_network_is_no_voice(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match="has 0 ONNX files"):
        NeuralVoice(tmp_path)
