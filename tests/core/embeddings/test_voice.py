"""A speaker encoder's weights, drawn at random, as a pickle and in a wheel, and the network made of them."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from core.decoding.audio_stream import Samples
from core.embeddings.embedder import Embedder
from core.embeddings.voice import FRONT_END, LAYERS, MEL_BINS, SAMPLE_RATE, WINDOW, convert_voice
from core.errors import CheckpointMismatch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE = 16


def weights(bands: int = MEL_BINS) -> dict[str, torch.Tensor]:
    """A small encoder's state: three LSTM layers and a projection."""
    torch.manual_seed(3)
    lstm, linear = torch.nn.LSTM(bands, SIZE, LAYERS), torch.nn.Linear(SIZE, SIZE)
    named = {f"lstm.{name}": one.detach() for name, one in lstm.state_dict().items()}
    return named | {f"linear.{name}": one.detach() for name, one in linear.state_dict().items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "pretrained.pt"
    torch.save({"step": 7, "model_state": weights(), "optimizer_state": {}}, path)
    return path


def voice(pitch: float, level: float = 0.05) -> Samples:
    time = np.arange(2 * WINDOW) / SAMPLE_RATE
    tones = [np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 9)]
    samples: Samples = (level * np.sum(tones, axis=0)).astype(np.float32)
    return samples


def test_a_pickle_and_a_wheel_of_it_give_the_same_model_of_unit_vectors(
    checkpoint: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "encoder-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(checkpoint, "encoder/pretrained.pt")
    described = convert_voice(checkpoint, tmp_path / "one")
    assert described.license == "not stated"
    assert convert_voice(wheel, tmp_path / "other").fingerprint == described.fingerprint
    embedder = Embedder(tmp_path / "one")
    alone = embedder.embed([voice(110)])[0].embedding
    together = embedder.embed([voice(220), voice(110)])[1].embedding
    assert alone.shape == (SIZE,)
    assert np.array_equal(alone, together)
    assert embedder.description.front_end == FRONT_END


def test_a_quiet_voice_sounds_as_a_loud_one_and_silence_stays_silent() -> None:
    loud = FRONT_END.features(voice(110, 0.005)[:WINDOW], SAMPLE_RATE)
    quiet = FRONT_END.features(voice(110, 0.00005)[:WINDOW], SAMPLE_RATE)
    np.testing.assert_allclose(quiet, loud, rtol=1e-3, atol=1e-9)
    assert not FRONT_END.features(np.zeros(WINDOW, np.float32), SAMPLE_RATE).any()


def test_a_tone_is_in_the_band_that_holds_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(WINDOW) / SAMPLE_RATE).astype(np.float32)
    loudest = FRONT_END.features(tone, SAMPLE_RATE).mean(0).argmax()
    assert loudest == 13  # 15 mel, of 45.25 in 41 steps: the center of the first band is one step up


class Opens:
    """What a hostile pickle would do when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    hostile, touched = tmp_path / "pretrained.pt", tmp_path / "touched"
    hostile.write_bytes(pickle.dumps({"model_state": Opens(touched)}))
    with pytest.raises(CheckpointMismatch, match=r"more than tensors, or is damaged \(UnpicklingError\)"):
        convert_voice(hostile, tmp_path / "out")
    assert not touched.exists()
    assert not (tmp_path / "out").exists()


def test_other_weights_are_refused_with_what_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(CheckpointMismatch, match="it holds a list, a dict of tensors is needed"):
        convert_voice(path, tmp_path / "out")
    torch.save({"model_state": {"linear.weight": torch.zeros(2, 2)}}, path)
    with pytest.raises(CheckpointMismatch, match=r"lacks linear\.bias and 12 more"):
        convert_voice(path, tmp_path / "out")
    torch.save({"model_state": weights(bands=64)}, path)
    with pytest.raises(CheckpointMismatch, match="reads 64 mel bands, 40 are computed here"):
        convert_voice(path, tmp_path / "out")
