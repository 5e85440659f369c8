"""The teachers that a user has, by their directories, and a record of what they were."""

import json
from collections.abc import Mapping
from pathlib import Path

from core.codec.config import CodecConfig
from core.embeddings.embedder import Embedder
from core.errors import CheckpointMismatch
from core.training.codec.config import TeacherSource
from core.training.codec.teachers import Teacher
from core.training.data.clips import CaptionedClips
from core.training.teachers.encoders import WHISPER_RATE, SentenceEncoder, WhisperFrames
from core.training.teachers.feature_teacher import FeatureTeacher, clip_vectors, whisper_frames

RECORD = "teachers.json"


def installed_teacher(
    source: TeacherSource,
    here: Path,
    clips: CaptionedClips,
    stand_in: Teacher,
    out: Path,
    codec: CodecConfig,
    device: str,
) -> FeatureTeacher:
    """Return a teacher of what the named encoders say of the clips, which is kept under `out`.

    That folder also gets a file with the fingerprints of the encoders, for the card of what is trained.
    Raises CheckpointMismatch for an encoder of another sample rate than the codec's.
    """
    whisper = WhisperFrames(here / source.whisper, device) if source.whisper else None
    sentences = SentenceEncoder(here / source.sentences, device) if source.sentences else None
    tagger = Embedder(here / source.tagger) if source.tagger else None
    rates = {"Whisper": WHISPER_RATE} if whisper else {}
    _check_rates(codec, rates | ({"tagger": tagger.description.sample_rate} if tagger else {}))
    out.mkdir(parents=True, exist_ok=True)
    named = {
        "whisper": whisper and whisper.sha256,
        "sentences": sentences and sentences.sha256,
        "tagger": tagger and tagger.fingerprint,
    }
    (out / RECORD).write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")
    kept, dim = out / clips.sha256[:12], codec.latent_dim
    frames = whisper_frames(kept, clips, whisper, dim) if whisper else None
    return FeatureTeacher(stand_in, clip_vectors(kept, clips, sentences, tagger, dim), frames)


def _check_rates(codec: CodecConfig, rates: Mapping[str, int]) -> None:
    for name, rate in rates.items():
        if rate != codec.sample_rate:
            raise CheckpointMismatch(
                f"the {name} hears {rate} Hz, the codec {codec.sample_rate} Hz: name a teacher of its rate"
            )
