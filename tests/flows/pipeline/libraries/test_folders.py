"""Libraries from folders named by label, and from recordings that Audacity labeled."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.audacity import cut, read_regions
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import RATE, hiss, tone, write_clip


@pytest.fixture
def home(tmp_path: Path, folder: Path) -> Path:
    """Folders named by label, and what people leave in them."""
    place = tmp_path / "library" / "sorted"
    for number in range(2):
        write_clip(place / "a tone" / "session" / f"{number}.wav", tone(440 + number, seed=number))
        write_clip(place / "hiss%20é" / f"{number}.wav", hiss(seed=number))
    (place / "hiss%20é" / ".DS_Store").write_bytes(b"x")
    (place / "readme.txt").write_text("mine")
    return place


def test_folders_are_labels(runtime: Runtime, home: Path) -> None:
    version, _ = import_manifest(runtime, "sounds", f"{home}/", "label")
    assert [row.label for row in version.demonstrations] == ["a tone", "a tone", "hiss%20é", "hiss%20é"]
    assert import_manifest(runtime, "sounds", str(home), "label")[0] == version


def test_a_clip_in_no_folder_and_a_folder_without_clips_are_refused(runtime: Runtime, home: Path) -> None:
    write_clip(home / "loose.wav", tone(500))
    with pytest.raises(ManifestError, match=r"1 clips are in no folder.*loose\.wav"):
        import_manifest(runtime, "sounds", f"{home}/", "label")
    (home.parent / "empty").mkdir()
    with pytest.raises(ManifestError, match="has 0 clips in folders"):
        import_manifest(runtime, "sounds", f"{home.parent}/empty/", "label")
    with pytest.raises(ManifestError, match="gives labels, and no answers for speech"):
        import_manifest(runtime, "voices", f"{home}/", "speech")


def test_labels_of_audacity_become_clips_and_a_library(
    runtime: Runtime, settings: Settings, home: Path
) -> None:
    recording = home.parent / "walk.wav"
    parts = [tone(440, 1.0, seed=1), hiss(1.0, seed=2), tone(880, 1.0, seed=3), hiss(1.0, seed=4)]
    write_clip(recording, np.concatenate(parts))
    track = "0.1\t0.9\ttone\n\\\t200.0\t900.0\n1,1\t1,9\thiss\n2.0\t3.0\ttone\n3.1\t4.0\thiss / wind\n"
    manifest = cut(settings, recording, read_regions(track), home.parent / "cut")
    version, _ = import_manifest(runtime, "walk", str(manifest), "label")
    assert [row.label for row in version.demonstrations] == ["tone", "hiss", "tone", "hiss / wind"]
    samples, rate = soundfile.read(home.parent / "cut" / "walk-0001.flac")
    assert (len(samples), rate) == (round(0.8 * RATE), RATE)
    assert np.abs(samples - np.concatenate(parts)[round(0.1 * RATE) : round(0.9 * RATE)]).max() < 1e-3


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ("", "no labels"),
        ("0.1\t0.9", "line 1 is no region"),
        ("0.5\t0.5\tpoint", "line 1 is no region"),
        ("0.1\t0.2\ta\nx\ty\tz", "line 2 is not begin, end and label"),
        ("0\tinf\ta", "line 1 is no region"),
        ("-1\t1\ta", "line 1 is no region"),
        ("nan\t1\ta", "line 1 is no region"),
    ],
)
def test_a_track_that_is_none_is_refused_with_its_line(track: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_regions(track)


def test_labels_of_another_recording_are_refused(settings: Settings, tmp_path: Path) -> None:
    recording = write_clip(tmp_path / "short.wav", tone(440, 0.5))
    with pytest.raises(ManifestError, match=r"the recording lasts 0\.50 s"):
        cut(settings, recording, read_regions("0.1\t9.0\ttone"), tmp_path / "cut")
