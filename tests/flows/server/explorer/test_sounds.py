"""Sounds come in the ranges that a player asks for, as they were labeled, from allowed places."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.pipeline.storage import StorageRefused
from flows.pipeline.storage.hashed_copy import sha256_of
from flows.server.explorer.audio.copies import Copies, ObjectChanged
from flows.server.explorer.audio.sounds import Sounds, Source
from tests.flows.pipeline.conftest import RATE, tone, write_clip
from tests.flows.server.explorer.conftest import DAYS, Explored


def sound_of(explored: Explored, name: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    answer = explored.client.get(f"{explored.clip(name)}/sound", headers=headers)
    return answer.status_code, dict(answer.headers), answer.content


def test_a_format_that_browsers_play_comes_as_it_is(explored: Explored) -> None:
    status, headers, content = sound_of(explored, "tone-1.wav")
    assert (status, headers["content-type"], headers["accept-ranges"]) == (200, "audio/wav", "bytes")
    assert content == (explored.folder / DAYS[-1] / "tone-1.wav").read_bytes()


def test_another_format_is_converted_without_changing_its_sound(explored: Explored) -> None:
    status, headers, content = sound_of(explored, "tone.aiff")
    assert (status, headers["content-type"]) == (200, "audio/flac")
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == RATE
    assert samples == pytest.approx(tone(500, seed=7), abs=1e-4)


@given(first=st.integers(0, 30_000), length=st.integers(0, 30_000))
@settings(max_examples=25)
def test_a_range_is_that_part_of_the_file(explored: Explored, first: int, length: int) -> None:
    whole = (explored.folder / DAYS[-1] / "tone-1.wav").read_bytes()
    last = first + length
    status, headers, content = sound_of(explored, "tone-1.wav", Range=f"bytes={first}-{last}")
    if first >= len(whole):
        assert (status, headers["content-range"]) == (416, f"bytes */{len(whole)}")
    else:
        assert status == 206
        assert content == whole[first : last + 1]
        end = min(last, len(whole) - 1)
        assert headers["content-range"] == f"bytes {first}-{end}/{len(whole)}"
        assert int(headers["content-length"]) == len(content)


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=-100", 206, slice(-100, None)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-0", 416, None),
        ("bytes=9-3", 416, None),
        ("bytes=-", 200, slice(None)),
        ("bytes=0-1,5-9", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
        ("bytes=" + "9" * 40 + "-", 200, slice(None)),
    ],
)
def test_odd_ranges_are_answered_as_http_says(
    explored: Explored, asked: str, status: int, part: slice | None
) -> None:
    whole = (explored.folder / DAYS[-1] / "tone-1.wav").read_bytes()
    found, _, content = sound_of(explored, "tone-1.wav", Range=asked)
    assert found == status
    assert part is None or content == whole[part]


def test_a_clip_that_was_set_aside_is_played_if_it_can_be(explored: Explored) -> None:
    assert sound_of(explored, "silent.wav")[0] == 200
    status, _, content = sound_of(explored, "cut.wav")
    assert status == 415
    assert b"truncated" in content


def test_demonstrations_can_be_heard_and_seen(explored: Explored) -> None:
    sound = explored.client.get("/demonstrations/1/0/sounds/sound")
    assert (sound.status_code, sound.headers["content-type"]) == (200, "audio/wav")
    picture = explored.client.get("/demonstrations/1/0/sounds/spectrogram.png")
    assert picture.content.startswith(b"\x89PNG")
    assert explored.client.get("/demonstrations/9/0/sounds/sound").status_code == 404


def test_a_spectrogram_has_a_pixel_for_ten_milliseconds(explored: Explored) -> None:
    picture = explored.client.get(f"{explored.clip('tone-3.wav')}/spectrogram.png")
    assert picture.headers["content-type"] == "image/png"
    width, height = (int.from_bytes(picture.content[at : at + 4]) for at in (16, 20))
    assert (width, height) == (121, 80)


@pytest.fixture
def sounds(explored: Explored, tmp_path: Path) -> Iterator[Sounds]:
    sounds = Sounds(explored.settings.model_copy(update={"read_roots": (str(tmp_path / "in"),)}))
    yield sounds
    sounds.close()


def test_other_bytes_than_were_labeled_are_never_played(sounds: Sounds, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in" / "a.wav", tone(300))
    source = Source(path.as_uri(), "WAV", sha256_of(path))
    assert sounds.playable(source)[0].size == path.stat().st_size
    write_clip(path, tone(301))
    with pytest.raises(ObjectChanged, match="have changed"):
        sounds.playable(source)
    path.unlink()
    with pytest.raises(ObjectChanged, match="no longer"):
        sounds.playable(source)


def test_a_place_outside_the_allow_list_is_refused(sounds: Sounds, tmp_path: Path) -> None:
    outside = write_clip(tmp_path / "out" / "a.wav", tone(300))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.wav").symlink_to(outside)
    for path in (outside, tmp_path / "in" / ".." / "out" / "a.wav", tmp_path / "in" / "link.wav"):
        with pytest.raises((StorageRefused, ObjectChanged)):
            sounds.playable(Source(path.as_uri(), "WAV", None))


def test_the_page_of_a_changed_clip_says_so(explored: Explored) -> None:
    path = explored.folder / DAYS[0] / "hiss-3.wav"
    before = path.read_bytes()
    clip = explored.clip("hiss-3.wav", DAYS[0])
    try:
        write_clip(path, tone(900))
        changed = explored.client.get(f"{clip}/sound")
        assert (changed.status_code, changed.headers["content-type"]) == (409, "text/plain; charset=utf-8")
        assert "have changed" in changed.text
        assert explored.client.get(f"{clip}/spectrogram.png").status_code == 409
    finally:
        path.write_bytes(before)


def test_a_copy_lasts_as_long_as_somebody_reads_it(explored: Explored, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", tone(300))
    copies = Copies(explored.settings.model_copy(update={"read_roots": (str(tmp_path),)}))
    copy, whole = copies.get(path.as_uri(), None), path.read_bytes()
    path.unlink()
    assert Path(copy.path).read_bytes() == whole
