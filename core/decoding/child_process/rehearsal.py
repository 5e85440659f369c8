"""Short clips of every decoded kind, for a decoder to read once before it is confined."""

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from core.decoding.audio_stream import Samples
from core.decoding.pyav.sound import find_av

_RATE = 48_000
_BY_SOUNDFILE = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None))
_BY_AV = (("mp4", "aac"), ("mp4", "alac"), ("webm", "libopus"), ("adts", "aac"))


def make_rehearsal() -> Iterator[bytes]:
    """Yield clips of every kind that can be made here (whole, joined and cut), and other bytes."""
    noise = make_noise()
    clips = [
        encode_by_soundfile(noise, *coding) for coding in _BY_SOUNDFILE if soundfile.check_format(*coding)
    ]
    if av := find_av():
        clips += [encode_by_av(noise, *coding) for coding in _BY_AV if coding[1] in av.codecs_available]
    for clip in clips:
        yield from (clip, clip + clip, clip[: len(clip) // 2])
    yield b"no audio"


def make_noise() -> Samples:
    """Return 42 ms of noise, (frames, 2)."""
    # Not numpy.random: importing it would take as long as half of the rehearsal. A sine swept far past half
    # the sample rate is noise too.
    swept: Samples = np.sin(np.arange(4_000.0) ** 2).astype(np.float32)
    return 0.5 * swept.reshape(2000, 2)


def encode_by_soundfile(samples: Samples, container: str, subtype: str | None, rate: int = _RATE) -> bytes:
    """Encode samples (frames, channels) to a file with libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def encode_by_av(samples: Samples, container: str, codec: str, rate: int = _RATE) -> bytes:
    """Encode stereo samples (frames, 2) to a file with the libav muxer `container`."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        planes = np.ascontiguousarray(samples.T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = rate
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()
