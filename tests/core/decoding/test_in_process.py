import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from core.decoding.audio_stream import (
    BLOCK_SAMPLES,
    DEFAULT_LIMITS,
    AudioInfo,
    AudioLimits,
    Samples,
)
from core.decoding.in_process import open_audio
from core.decoding.pyav.sound import find_av
from core.errors import AudioRejected

RATE = 16_000
SWING = np.resize(np.array([1, -1], np.float32), 600_000)
TONE = (0.5 * np.sin(np.arange(RATE) * 0.1)).astype(np.float32)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(
        samples: npt.NDArray[Any], rate: int = RATE, container: str = "WAV", subtype: str = "FLOAT"
    ) -> Path:
        path = tmp_path / "clip"
        soundfile.write(path, samples, rate, format=container, subtype=subtype)
        return path

    return write


def decode(path: Path, limits: AudioLimits = DEFAULT_LIMITS) -> tuple[Samples, AudioInfo]:
    with path.open("rb") as file:
        stream = open_audio(file, limits)
        return np.concatenate(list(stream)), stream.info


def reason(path: Path, limits: AudioLimits = DEFAULT_LIMITS) -> str:
    with pytest.raises(AudioRejected) as caught:
        decode(path, limits)
    return caught.value.reason


def patch(path: Path, offset: int, content: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    return path


def outcome(path: Path) -> dict[str, Any]:
    try:
        info = decode(path)[1]
    except AudioRejected as rejected:
        return {"reason": rejected.reason}
    facts = {"sample_rate": info.sample_rate, "channels": info.channels, "num_samples": info.num_samples}
    return {"decodes": facts}


@pytest.mark.data
def test_every_odd_file_is_decoded_or_rejected_as_expected(test_data: Path) -> None:
    expectations = json.loads((Path(__file__).parent / "edge_expectations.json").read_text("utf-8"))
    paths = [path for path in (test_data / "edge" / "dev").iterdir() if path.suffix != ".jsonl"]
    assert paths
    for path in paths:
        expected = expectations[hashlib.sha256(path.read_bytes()).hexdigest()]
        if find_av() and expected["note"] in {"MP4", "Matroska", "WebM"}:
            continue  # these are the outcomes without it
        assert {"note": expected["note"], **outcome(path)} == expected, path.name


FAULTS: dict[str, str | int] = {
    "01-mp3-vbr-no-xing/whole.wav": 485_144,
    "01-mp3-vbr-no-xing/lame_with_tag.mp3": 485_144,
    "01-mp3-vbr-no-xing/lame_no_tag.mp3": 423 * 1152,  # nothing says what the encoder added
    "02-chained-ogg/dog_then_siren.ogg": 2 * 220_544,
    "03-concat-mp3-flac/cat.flac": 48_000,
    "03-concat-mp3-flac/cat_rate_change.mp3": "unread",
    "03-concat-mp3-flac/dog_then_siren.mp3": 2 * 220_544,
    "03-concat-mp3-flac/siren_then_dog.mp3": 2 * 220_544,
    "03-concat-mp3-flac/flac_short_total.flac": 24_000,
    "04-cut-w64-au-sphere-mp3/cut50_cbr_info.mp3": "truncated",
    "04-cut-w64-au-sphere-mp3/cut50_cont_AU.au": "truncated",
    "04-cut-w64-au-sphere-mp3/cut50_cont_NIST.nist": "truncated",
    "04-cut-w64-au-sphere-mp3/cut50_cont_W64.w64": "truncated",
    "04-cut-w64-au-sphere-mp3/cut50_vbr_xing.mp3": "truncated",
    "05-float-1e30-poison/f32_1e30.wav": "too_loud",
    "06-float-int16-scale/dog-6_b_int16scale.wav": "too_loud",
    "07-antiphase/church_bells-4_c_antiphase.wav": "cancelling",
    "08-dc-only/dc_only.wav": "silent",
}


@pytest.mark.data
@pytest.mark.parametrize("name", FAULTS)
def test_what_was_once_decoded_in_part_or_as_noise(test_data: Path, name: str) -> None:
    result = outcome(test_data / "faults" / name)
    assert result.get("reason", result.get("decodes", {}).get("num_samples")) == FAULTS[name]


def test_a_clip_is_decoded_with_its_facts(write: Write) -> None:
    samples, info = decode(write(TONE))
    np.testing.assert_array_equal(samples, TONE)
    assert info == AudioInfo("WAV", RATE, 1, len(TONE), float(np.abs(TONE).max()))
    assert info.duration == 1.0


def test_mono_is_the_mean_of_the_channels(write: Write) -> None:
    channels = np.random.default_rng(0).uniform(-1, 1, (RATE, 5)).astype(np.float32)
    samples, info = decode(write(channels))
    np.testing.assert_allclose(samples, channels.mean(axis=1), atol=1e-7)
    assert info.channels == 5


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_blocks_are_bounded_over_all_channels(write: Write, channels: int) -> None:
    path = write(np.tile(SWING[: 3 * BLOCK_SAMPLES // channels + 5, None], channels) / 8)
    with path.open("rb") as file:
        lengths = [len(block) for block in open_audio(file)]
    assert lengths == [BLOCK_SAMPLES // channels] * 3 + [5]


def test_samples_over_full_scale_are_kept(write: Write) -> None:
    samples, info = decode(write(TONE * 40))
    assert info.peak == pytest.approx(20, rel=1e-3)
    np.testing.assert_array_equal(samples, TONE * 40)


def test_info_is_known_only_at_the_end_and_blocks_come_once(write: Write) -> None:
    with write(TONE).open("rb") as file:
        stream = open_audio(file)
        with pytest.raises(ValueError, match="iterate"):
            _ = stream.info
        assert sum(map(len, stream)) == len(TONE)
        assert list(stream) == []
        assert stream.info.num_samples == len(TONE)


@pytest.mark.parametrize("rate", [3_999, 192_001])
def test_rates_out_of_bounds_are_rejected(write: Write, rate: int) -> None:
    assert reason(write(TONE, rate)) == "bad_rate"


@pytest.mark.parametrize("rate", [4_000, 192_000])
def test_rates_at_the_bounds_decode(write: Write, rate: int) -> None:
    assert decode(write(TONE, rate))[1].sample_rate == rate


def test_nine_channels_are_too_many(write: Write) -> None:
    assert reason(write(np.ones((RATE, 9), np.float32))) == "bad_channels"


def test_an_object_over_the_size_limit_is_not_opened(write: Write) -> None:
    path = write(TONE)
    assert reason(path, AudioLimits(max_bytes=path.stat().st_size - 1)) == "too_large"
    decode(path, AudioLimits(max_bytes=path.stat().st_size))


@pytest.mark.parametrize(("num_samples", "short"), [(319, True), (320, False)])
def test_twenty_milliseconds_are_enough(write: Write, num_samples: int, short: bool) -> None:
    path = write(TONE[:num_samples])
    assert reason(path) == "too_short" if short else decode(path)


def test_length_is_bounded_by_the_frames_that_are_counted(write: Write) -> None:
    path = write(TONE, container="FLAC", subtype="PCM_16")
    assert reason(path, AudioLimits(max_duration=0.5)) == "too_long"
    unknown_total = patch(path, 21, bytes([path.read_bytes()[21] & 0xF0, 0, 0, 0, 0]))
    assert reason(unknown_total, AudioLimits(max_duration=0.5)) == "too_long"
    assert decode(unknown_total)[1].num_samples == len(TONE)


def test_a_flac_that_promises_more_frames_is_truncated(write: Write) -> None:
    path = write(TONE, container="FLAC", subtype="PCM_16")
    assert reason(patch(path, 22, bytes([0xFF] * 4))) == "truncated"


@given(keep=st.floats(0.02, 0.999))
def test_a_flac_cut_anywhere_is_truncated(tmp_path_factory: pytest.TempPathFactory, keep: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "clip"
    whole = io.BytesIO()
    soundfile.write(whole, TONE, RATE, format="FLAC")
    path.write_bytes(whole.getvalue()[: int(keep * len(whole.getvalue()))])
    assert reason(path) == "truncated"


def test_a_damaged_flac_is_unreadable(write: Write) -> None:
    path = write(np.random.default_rng(0).uniform(-1, 1, 5 * RATE), container="FLAC", subtype="PCM_16")
    assert reason(patch(path, path.stat().st_size // 2, bytes(8))) == "unreadable"


def test_a_bomb_needs_both_the_ratio_and_the_floor(write: Write) -> None:
    path = write(np.zeros(600 * RATE, np.int16), container="FLAC", subtype="PCM_16")
    assert path.stat().st_size * 1000 < 600 * RATE * 4 < DEFAULT_LIMITS.min_bomb_bytes
    assert reason(path) == "silent"
    assert reason(path, AudioLimits(min_bomb_bytes=1024**2)) == "bomb"
    assert reason(path, AudioLimits(min_bomb_bytes=1024**2, max_expansion=1e6)) == "silent"


def test_an_operator_lets_minutes_of_silence_around_a_sound_pass(write: Write) -> None:
    samples = np.zeros((180 * 48_000, 2), np.int16)
    samples[-RATE:, 0] = 10_000 * TONE
    path = write(samples, 48_000, "FLAC", "PCM_16")
    assert reason(path) == "bomb"
    assert decode(path, AudioLimits(min_bomb_bytes=1024**3))[1].num_samples == len(samples)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [(0, 0), (-1, 1)])
def test_one_sample_that_is_not_finite_rejects_the_clip(
    write: Write, bad: float, position: tuple[int, int]
) -> None:
    channels = np.full((3 * BLOCK_SAMPLES, 2), 0.1, np.float32)
    channels[position] = bad
    assert reason(write(channels)) == "not_finite"


def test_opposite_infinities_are_not_silence(write: Write) -> None:
    assert reason(write(np.full((RATE, 2), [np.inf, -np.inf], np.float32))) == "not_finite"


@pytest.mark.parametrize(("peak", "silent"), [(0.0, True), (0.99e-4, True), (1.01e-4, False)])
def test_silence_is_under_minus_80_dbfs(write: Write, peak: float, silent: bool) -> None:
    path = write(peak * SWING[:RATE])
    assert reason(path) == "silent" if silent else decode(path)


@pytest.mark.parametrize("offset", [0.1, -0.9, [0.3, -0.2]])
def test_a_constant_offset_is_no_sound(write: Write, offset: float | list[float]) -> None:
    noise = np.random.default_rng(1).uniform(-1e-5, 1e-5, (RATE, np.size(offset)))
    assert reason(write(noise + offset)) == "silent"
    assert decode(write(1e3 * noise + offset))[1].peak == pytest.approx(abs(np.mean(offset)), abs=0.02)


@pytest.mark.parametrize("allow_silent", [False, True])
@pytest.mark.parametrize("right", [-1, -0.97, -0.85])
def test_channels_that_cancel_are_refused_by_that_reason(
    write: Write, right: float, allow_silent: bool
) -> None:
    path = write(np.stack([TONE, right * TONE], axis=1))
    assert reason(path, AudioLimits(allow_silent=allow_silent)) == "cancelling"


def test_opposite_offsets_neither_hide_a_cancellation_nor_make_one(write: Write) -> None:
    assert reason(write(np.stack([TONE + 0.4, -TONE + 0.4], axis=1))) == "cancelling"
    decode(write(np.stack([TONE / 100 + 0.4, TONE / 100 - 0.4], axis=1)))


def test_unlike_channels_and_channels_of_silence_do_not_cancel(write: Write) -> None:
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 8))
    decode(write(channels))
    channels[:, 1:] = 0
    decode(write(channels))


def test_faint_channels_that_cancel_are_silent(write: Write) -> None:
    assert reason(write(np.stack([1e-4 * TONE, -1e-4 * TONE], axis=1))) == "silent"


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e17, 1e30])
@pytest.mark.parametrize("channels", [[1.0], [0, 1.0], [1.0, -1.0]])
def test_samples_far_over_full_scale_are_too_loud(write: Write, factor: float, channels: list[float]) -> None:
    assert reason(write(64 * factor * TONE[:, None] * np.array(channels))) == "too_loud"


def test_one_loud_sample_is_enough_and_the_bound_can_be_moved(write: Write) -> None:
    samples = TONE.copy()
    samples[-1] = 31.7
    assert reason(write(samples)) == "too_loud"
    decode(write(samples), AudioLimits(max_peak_dbfs=31))
    samples[-1] = -31.6
    decode(write(samples))


def test_silence_can_be_allowed(write: Write) -> None:
    assert decode(write(np.zeros(RATE)), AudioLimits(allow_silent=True))[1].peak == 0.0


def test_a_wav_without_frames_is_empty(write: Write) -> None:
    assert reason(write(np.zeros(0))) == "empty"


def test_the_name_of_a_file_decides_nothing(write: Write, tmp_path: Path) -> None:
    renamed = write(TONE).rename(tmp_path / "clip.raw")
    assert decode(renamed)[1].format == "WAV"


def test_no_descriptor_is_left_open(write: Write, tmp_path: Path) -> None:
    good, bad, damaged = write(TONE), tmp_path / "bad", tmp_path / "damaged"
    bad.write_bytes(b"not audio")
    damaged.write_bytes(good.read_bytes()[:40])
    before = len(os.listdir("/proc/self/fd"))
    for path in [good, bad, damaged] * 20:
        with path.open("rb") as file:
            try:
                next(iter(open_audio(file)))
            except AudioRejected:
                continue
    assert len(os.listdir("/proc/self/fd")) == before
