"""Crops and banks follow from their seeds, and nothing of a clip is lost or doubled."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.training.data import clips
from core.training.data.clips import (
    Bank,
    BankSpec,
    ManifestClips,
    TrainingClip,
    augment,
    draw_crops,
    make_clips,
    recorded_clips,
    write_bank,
)
from core.training.data.families import Samples

SPEC = BankSpec(sound_classes=3, speech_classes=0, takes=2, duration=0.3, seed=5)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    digits = [TrainingClip(np.full(100, value, np.float32), "digits", str(value)) for value in (0.25, -0.5)]
    return write_bank(tmp_path_factory.mktemp("bank") / "bank.safetensors", make_clips(SPEC, digits))


def test_a_bank_holds_every_clip_with_its_class(bank: Bank) -> None:
    assert len(bank) == 3 * 2 + 2
    assert bank.kinds == ["sound"] * 6 + ["digits"] * 2
    assert bank.text(0) == bank.text(1) != bank.text(2)
    assert len(bank.samples(0)) == 4800
    np.testing.assert_allclose(bank.samples(7), -0.5, atol=1e-4)


def test_a_bank_whose_writing_was_killed_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(clips, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_bank(tmp_path / "bank.safetensors", make_clips(SPEC))
    assert not (tmp_path / "bank.safetensors").exists()


def test_the_same_seed_makes_the_same_bank_and_hash(tmp_path: Path) -> None:
    first = write_bank(tmp_path / "1.safetensors", make_clips(SPEC))
    second = write_bank(tmp_path / "2.safetensors", make_clips(SPEC))
    other = write_bank(tmp_path / "3.safetensors", make_clips(BankSpec(3, 0, 2, 0.3, seed=6)))
    assert first.sha256 == second.sha256 != other.sha256


def test_kinds_are_drawn_as_their_shares_say(bank: Bank) -> None:
    bank.share({"sound": 0.25, "digits": 0.75})
    _, drawn = draw_crops(bank, torch.Generator().manual_seed(0), 400, 480)
    assert sum(index >= 6 for index in drawn.clips) / 400 == pytest.approx(0.75, abs=0.08)


def test_crops_follow_from_the_generator(bank: Bank) -> None:
    first, second = (draw_crops(bank, torch.Generator().manual_seed(3), 8, 480) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]


def test_a_short_clip_lies_whole_in_its_crop() -> None:
    class OneClip:
        weights = torch.ones(1)

        def samples(self, index: int) -> Samples:
            return np.arange(1, 6, dtype=np.float32)

        def text(self, index: int) -> str:
            return ""

        caption = text

    crops, drawn = draw_crops(OneClip(), torch.Generator().manual_seed(0), 50, 9)
    assert crops.shape == (50, 1, 9)
    assert all(row[row > 0].tolist() == [1, 2, 3, 4, 5] for row in crops)
    assert len({tuple(row.flatten().tolist()) for row in crops}) == 5
    assert all(int(row.flatten()[-start]) == 1 for row, start in zip(crops, drawn.starts, strict=True))


def test_augmented_crops_keep_their_shape_and_never_clip() -> None:
    crops = torch.randn(12, 1, 960, generator=torch.Generator().manual_seed(1))
    changed, speeds = augment(crops, torch.Generator().manual_seed(2))
    assert changed.shape == crops.shape
    assert float(changed.abs().max()) <= 0.95
    assert torch.equal(changed, augment(crops, torch.Generator().manual_seed(2))[0])
    assert all(0.86 < speed < 1.17 for speed in speeds)


def test_augmented_silence_stays_silent() -> None:
    assert not augment(torch.zeros(3, 1, 960), torch.Generator())[0].any()


def test_manifest_rows_are_read_by_the_reader_that_was_passed_in() -> None:
    rows = [{"path": "s3://a/1.wav", "text": "a dog"}, {"path": "s3://a/2.wav", "label": "rain"}]
    clips = ManifestClips(rows, lambda path: np.full(10, float(path[-5]), np.float32))
    assert clips.samples(1).tolist() == [2.0] * 10
    assert [clips.text(0), clips.text(1)] == ["a dog", "rain"]


def test_recorded_sets_are_read_by_their_manifests(tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "dev"
    folder.mkdir(parents=True)
    rows = [
        {"path": "digits/dev/1.wav", "labels": {"text": "one"}, "speaker": "a"},
        {"path": "digits/dev/2.wav", "labels": {"text": None}, "speaker": "b"},
    ]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read: list[str] = []

    def reader(path: str) -> Samples:
        read.append(path)
        return np.zeros(4, np.float32)

    clips = list(recorded_clips(tmp_path, ("digits",), reader))
    assert read == [str(tmp_path / "digits/dev/1.wav"), str(tmp_path / "digits/dev/2.wav")]
    assert [(clip.kind, clip.text) for clip in clips] == [("digits", "one"), ("digits", "b")]
