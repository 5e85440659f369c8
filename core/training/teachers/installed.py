"""The teachers that a user has, by their directories, and a record of what they were."""

import json
from pathlib import Path

from core.embeddings.embedder import Embedder
from core.training.codec.config import TeacherSource
from core.training.codec.teachers import Teacher
from core.training.data.clips import CaptionedClips
from core.training.teachers.encoders import SentenceEncoder, WhisperFrames
from core.training.teachers.feature_teacher import FeatureTeacher, clip_vectors, whisper_frames

RECORD = "teachers.json"


def installed_teacher(
    source: TeacherSource,
    here: Path,
    clips: CaptionedClips,
    stand_in: Teacher,
    kept: Path,
    dim: int,
    device: str,
) -> FeatureTeacher:
    """Return a teacher of what the named encoders say of the clips, which is kept in a folder.

    The folder also gets a file with the fingerprints of the encoders, for the card of what is trained.
    """
    whisper = WhisperFrames(here / source.whisper, device) if source.whisper else None
    sentences = SentenceEncoder(here / source.sentences, device) if source.sentences else None
    tagger = Embedder(here / source.tagger) if source.tagger else None
    named = {
        "whisper": whisper and whisper.sha256,
        "sentences": sentences and sentences.sha256,
        "tagger": tagger and tagger.fingerprint,
    }
    kept.mkdir(parents=True, exist_ok=True)
    (kept / RECORD).write_text(json.dumps(named, indent=1) + "\n", encoding="utf-8")
    frames = whisper_frames(kept, clips, whisper, dim) if whisper else None
    return FeatureTeacher(stand_in, clip_vectors(kept, clips, sentences, tagger, dim), frames)
