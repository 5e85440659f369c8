import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.embeddings.description import read_description, write_description
from core.errors import CheckpointMismatch
from tests.tiny_tagger import TAGGER

DESCRIPTION = replace(TAGGER, sha256="0" * 64)


def _written(folder: Path, **changes: Any) -> Path:
    write_description(folder, DESCRIPTION)
    (folder / "model.onnx").write_bytes(b"network")
    path = folder / "embedding.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_a_description_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_description(_written(tmp_path)) == DESCRIPTION


def test_the_fingerprint_is_of_what_decides_a_number() -> None:
    same = replace(DESCRIPTION, name="other", license="MIT", source="elsewhere")
    assert same.fingerprint == DESCRIPTION.fingerprint
    others = (
        replace(DESCRIPTION, sha256="1" * 64),
        replace(DESCRIPTION, hop=640),
        replace(DESCRIPTION, classes=("Dog", "Rain", "Speech")),
        replace(DESCRIPTION, front_end=replace(TAGGER.front_end, log_offset=0.01)),  # type: ignore[type-var]
    )
    assert DESCRIPTION.fingerprint not in {other.fingerprint for other in others}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "format is 2, this version reads format 1"),
        ({"kind": "speaker"}, "kind is 'speaker': it is tagger or embedding"),
        ({"kind": "embedding"}, "a tagger has classes and scores, another kind neither"),
        ({"scores": None}, "a tagger has classes and scores"),
        ({"hop": 2_801}, "hop is 2801 samples, more than the window of 2800"),
        ({"hop": 0}, "hop is 0, a whole number of at least 1"),
        ({"window": 16_000 * 61}, "at most 960000"),
        ({"window": 2_801}, "window is 2801 samples, its front end takes 2800"),
        ({"license": ""}, "license is '', a text is needed"),
        ({"sample_rate": True}, "sample_rate is True"),
        ({"classes": "../classes.txt"}, "class names must be in classes.txt"),
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    if "window" not in changes or changes["window"] <= 16_000:
        directory = _written(tmp_path, **changes)
    else:
        directory = _written(tmp_path, **changes, front_end={"type": "waveform"})
    with pytest.raises(CheckpointMismatch, match=f"does not describe an embedding model .*{reason}"):
        read_description(directory)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match=r"no embedding\.json: .* wordwave models convert-embedding"):
        read_description(tmp_path)
    directory = _written(tmp_path)
    fields = json.loads((directory / "embedding.json").read_text())
    del fields["hop"]
    (directory / "embedding.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointMismatch, match="it lacks 'hop'"):
        read_description(directory)


@pytest.mark.parametrize("names", ["Dog\nDog\nSpeech\n", "Dog\n\nSpeech\n"])
def test_class_names_are_each_once_and_none_empty(tmp_path: Path, names: str) -> None:
    (_written(tmp_path) / "classes.txt").write_text(names)
    with pytest.raises(CheckpointMismatch, match="one name a line, each once and none empty"):
        read_description(tmp_path)
