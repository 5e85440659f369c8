import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.decoding.audio_stream import Samples
from core.embeddings.embedder import (
    ClipEmbedding,
    Embedder,
    EmbeddingPass,
    WindowCutter,
    best_classes,
    count_windows,
)
from core.embeddings.network import ROWS, Network, WindowOutput
from core.errors import AudioRejected, CheckpointMismatch, MissingPackage
from tests.tiny_tagger import DIMENSIONS, TAGGER, write_tagger, write_waveform_model


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder(write_tagger(tmp_path_factory.mktemp("models") / "tagger"))


def _clip(seed: int, num_samples: int) -> "np.typing.NDArray[np.float32]":
    return 0.1 * np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32)


def _equal(one: ClipEmbedding, other: ClipEmbedding) -> bool:
    assert one.scores is not None
    assert other.scores is not None
    same_means = np.array_equal(one.embedding, other.embedding) and np.array_equal(one.scores, other.scores)
    return same_means and one.timed == other.timed


def test_same_clip_same_bits_alone_and_in_any_batch(embedder: Embedder) -> None:
    clips = [_clip(seed, 700 * (seed + 1)) for seed in range(2 * ROWS)]
    alone = [embedder.embed([clip])[0] for clip in clips]
    forwards, backwards = embedder.embed(clips), embedder.embed(clips[::-1])[::-1]
    assert all(map(_equal, alone, forwards))
    assert all(map(_equal, alone, backwards))


def test_same_clip_same_bits_in_whatever_pieces(embedder: Embedder) -> None:
    clip = _clip(1, 20_000)
    (whole,) = embedder.embed([clip])
    for size in (1, 999, 2_800):
        together = EmbeddingPass(embedder)
        pieces = [clip[start : start + size] for start in range(0, len(clip), size)]
        passed = list(together.follow(pieces))
        assert all(one is other for one, other in zip(passed, pieces, strict=True))
        assert _equal(together.finish()[0], whole)


def test_the_pooled_embedding_is_the_mean_over_windows(embedder: Embedder) -> None:
    clip, described = _clip(2, 2_800 + 2 * 1_280), embedder.description
    windows = [clip[start : start + 2_800] for start in (0, 1_280, 2_560)]
    one_by_one = [embedder.embed([window])[0].embedding for window in windows]
    (pooled,) = embedder.embed([clip])
    np.testing.assert_allclose(pooled.embedding, np.mean(one_by_one, axis=0), rtol=1e-6)
    assert pooled.embedding.shape == (described.dimensions,)
    assert [score.window for score in pooled.timed] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("num_samples", "windows"), [(0, 0), (1, 1), (2_800, 1), (2_801, 2), (4_080, 2), (4_081, 3)]
)
def test_every_sample_is_in_a_window_and_the_last_one_is_filled_up(num_samples: int, windows: int) -> None:
    cutter, clip = WindowCutter(TAGGER), np.arange(1, num_samples + 1, dtype=np.float32)
    cut = [*cutter.take(clip), *cutter.rest()]
    assert len(cut) == windows == count_windows(num_samples, TAGGER)
    assert all(len(window) == 2_800 for window in cut)
    assert set(np.concatenate([*cut, [0]])) == set(clip) | {0}


def test_the_best_classes_come_first_and_of_equal_ones_the_first() -> None:
    scores = np.array([0.25, 0.75, 0.25, 0.5], np.float32)
    assert best_classes(scores, 3) == [(1, 0.75), (3, 0.5), (0, 0.25)]


def test_a_model_of_waveforms_gives_an_embedding_alone(tmp_path: Path) -> None:
    (embedded,) = Embedder(write_waveform_model(tmp_path / "waves")).embed([_clip(3, 4_000)])
    assert embedded.embedding.shape == (DIMENSIONS,)
    assert embedded.scores is None
    assert embedded.timed == ()


def test_a_clip_of_numbers_that_are_not_finite_is_rejected_alone(embedder: Embedder) -> None:
    good, bad = embedder.embed([_clip(4, 5_000), np.full(5_000, np.nan, np.float32)])
    good.check()
    with pytest.raises(AudioRejected, match="not_finite"):
        bad.check()


def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    directory = write_tagger(tmp_path / "tagger")
    network = directory / "model.onnx"
    network.write_bytes(network.read_bytes() + b"\0")
    with pytest.raises(CheckpointMismatch, match=r"embedding\.json says .* was changed or cut off"):
        Embedder(directory)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": "waveform"}, "the network takes audio, embedding.json says waveform"),
        ({"embedding": "latent"}, "gives embedding, scores, embedding.json names latent"),
        ({"dimensions": 5}, "output embedding has 4 numbers, embedding.json and its classes say 5"),
    ],
)
def test_a_description_of_another_network_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointMismatch, match=reason):
        Embedder(write_tagger(tmp_path / "tagger", **changes))


def test_features_of_another_shape_are_refused(tmp_path: Path) -> None:
    directory = write_tagger(tmp_path / "tagger")
    shutil.copyfile(write_waveform_model(tmp_path / "waves") / "model.onnx", directory / "model.onnx")
    with pytest.raises(CheckpointMismatch, match="has the sha256"):
        Embedder(directory)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    directory = write_tagger(tmp_path / "tagger")
    (directory / "model.onnx").write_bytes(b"no network")
    description = (directory / "embedding.json").read_text()
    fields = json.loads(description) | {"sha256": hashlib.sha256(b"no network").hexdigest()}
    (directory / "embedding.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointMismatch, match=r"onnxruntime cannot open .*model\.onnx"):
        Embedder(directory)


def test_a_network_whose_rows_depend_on_each_other_runs_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Network.run

    def dependent(network: Network, windows: list[Samples]) -> list[WindowOutput]:
        outputs = run(network, windows)
        return [output._replace(embedding=output.embedding + row) for row, output in enumerate(outputs)]

    monkeypatch.setattr(Network, "run", dependent)
    assert Embedder(write_tagger(tmp_path / "tagger")).network.rows == 1


def test_without_onnxruntime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_tagger(tmp_path / "tagger")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r"the package onnxruntime, .* install wordwave\[tagger\]"):
        Embedder(directory)
