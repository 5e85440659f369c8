"""Rows for tests: each function writes one, with whatever the test does not care about filled in."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.clips import add_clips, link_contents
from db.generated import NewAudio
from db.libraries import LibraryDemonstration, LibraryVersion, import_library
from db.model_registry import ensure_codec, ensure_llm
from db.models import Clip, Content, PredictionRow, TokenSequence
from db.object_version import ObjectVersion
from db.predictions import Answer, NewPrediction, get_answers
from db.runs import RecordedRun, RunClaim, start_run
from db.tokens import TokenizedContent, _content_row, _sequence_row, save_tokens

FOLDER = "s3://bucket/day"
CONFIG = {
    "sample_rate": 16000,
    "codebook_sizes": [4, 8, 8],
    "encoder_rates": [3, 4, 5, 8],
    "vq_strides": [4, 2, 1],
}
WORDS = (
    ["dog", "cat", "rain", "bell"],
    [f"one{code}" for code in range(8)],
    [f"two{code}" for code in range(8)],
)


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def listed(name: str, version: str = "v1", size: int = 1000) -> ObjectVersion:
    return ObjectVersion(f"{FOLDER}/{name}", version, size, datetime(2026, 11, 22, tzinfo=UTC))


def make_run(session: Session, kind: str = "label", **parameters: Any) -> UUID:
    return start(session, kind, **parameters).id


def start(
    session: Session, kind: str = "label", asked: dict[str, str] | None = None, **parameters: Any
) -> RecordedRun:
    return start_run(
        session,
        kind,
        FOLDER,
        parameters=parameters,
        asked=asked,
        day=None,
        flow_run_id=None,
        code_version="0.1.0",
    )


def claim(session: Session, kind: str = "label", **parameters: Any) -> RunClaim:
    run = start(session, kind, **parameters)
    return RunClaim(run.id, run.attempts)


def make_codec(session: Session, fingerprint: str = "c0dec") -> int:
    return ensure_codec(session, fingerprint, "tiny", CONFIG, WORDS)


def make_llm(session: Session, fingerprint: str = "11a3a") -> int:
    return ensure_llm(session, fingerprint, "tiny-llama")


def clip_id(session: Session, name: str) -> int:
    """Return the id of the current version of a clip."""
    return session.scalars(
        select(Clip.id).where(Clip.uri == f"{FOLDER}/{name}", Clip.missing_since.is_(None))
    ).one()


def tokenized(clip: int | None, content: str, blocks: int = 1) -> TokenizedContent:
    return TokenizedContent(
        clip_id=clip,
        sha256=sha256(content),
        sample_rate=8000,
        channels=1,
        num_samples=1920 * blocks,
        format="WAV/PCM_16",
        peak=0.5,
        codes=([0, 2] * blocks, [1] * 4 * blocks, [7] * 8 * blocks),
        levels=[-200, -123] * blocks,
        latent=([1.5, -2.0], [0.25, 0.0]),
    )


def save_without_latent(session: Session, codec_id: int, run_id: UUID, old: TokenizedContent) -> None:
    """Store codes in the form from before there were latents."""
    session.execute(insert(Content).values(_content_row(old)))
    session.execute(insert(TokenSequence).values(_sequence_row(old, codec_id, run_id)))
    if old.clip_id is not None:
        link_contents(session, {old.clip_id: old.sha256})


def make_tokenized_clips(session: Session, *names: str) -> int:
    """List and tokenize clips whose contents are their names; return the codec's id."""
    codec_id, run_id = make_codec(session), make_run(session, "tokenize")
    add_clips(session, map(listed, names), FOLDER)
    batch = [tokenized(clip_id(session, name), name) for name in names]
    save_tokens(session, codec_id, run_id, batch)
    return codec_id


def make_library(
    session: Session, codec_id: int, name: str = "animals", shot: str = "shot"
) -> LibraryVersion:
    save_tokens(session, codec_id, make_run(session, "library"), [tokenized(None, shot)])
    return import_library(
        session, name, "label", None, [LibraryDemonstration(sha256(shot), "dog", f"file:///{shot}")]
    )


def prediction(
    content: str,
    library: LibraryVersion,
    codec_id: int,
    llm_id: int | None,
    label: str = "dog",
    **changes: Any,
) -> NewPrediction:
    values: dict[str, Any] = {
        "work_key": sha256(f"{content} {library.id} {codec_id} {llm_id}"),
        "content_sha256": sha256(content),
        "task": "label",
        "demonstration_set_id": library.id,
        "codec_id": codec_id,
        "llm_id": llm_id,
        "labeler": "nearest" if llm_id is None else "few-shot",
        "label": label,
        "probabilities": {"dog": 0.25, "cat": 0.25} | {label: 0.75},
        "margin": 0.5,
        "min_margin": 0.1,
        "baselines": {"chance": 0.5, "majority": "cat", "nearest": "dog", "nearest_latent": "rain"},
        "is_demonstration": False,
        "provenance": {"prompt_hash": "ab"},
        "seed": 7,
    }
    return NewPrediction(**(values | changes))


def run_answers(session: Session, run_id: UUID) -> list[Answer]:
    """Return the answers of a run that are not retracted, in uri order."""
    is_written = (PredictionRow.run_id == run_id) & PredictionRow.retracted_by_run.is_(None)
    keys = session.scalars(select(PredictionRow.work_key).where(is_written)).all()
    return get_answers(session, FOLDER, keys)


def audio(asked: str, library: LibraryVersion, codec_id: int, llm_id: int | None, **changes: Any) -> NewAudio:
    values: dict[str, Any] = {
        "work_key": sha256(f"{asked} {library.id} {codec_id} {llm_id}"),
        "task": "speech",
        "text": asked,
        "content_sha256": None,
        "demonstration_set_id": library.id,
        "codec_id": codec_id,
        "llm_id": llm_id,
        "semantic": [0, 2],
        "acoustic1": [1, 1, 0, 7],
        "acoustic2": [7] * 8,
        "duration": 0.24,
        "uri": f"s3://results/generated/{asked}.wav",
        "sha256": sha256(f"sound of {asked}"),
        "metrics": {"peak": 0.5},
        "is_demonstration": False,
        "provenance": {"prompt_hash": "ab"},
        "seed": 2**62,
    }
    return NewAudio(**(values | changes))
