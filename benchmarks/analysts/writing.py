"""How fast tokens are written with all indexes in place, and what a clip takes on disk."""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter, process_time

import numpy as np
from sqlalchemy import NullPool, create_engine, text

from benchmarks.analysts.corpus import Corpus
from benchmarks.analysts.processor import processor_ms
from db.clips import add_clips
from db.engine import make_engine, session_scope
from db.object_version import ObjectVersion
from db.runs import start_run
from db.tokens import TokenizedContent, save_tokens

SEED = 7
BATCH, SHORT = 256, 9
"""Clips that the flows write at once, and the semantic codes of one of a second."""
NO_RUN: dict[str, object] = {"parameters": {}, "asked": None, "day": None, "flow_run_id": None}


@dataclass(frozen=True)
class Rate:
    """One-second clips whose tokens are written: a second by the clock, and a second of one processor."""

    by_clock: float
    by_processor: float


def written_per_second(writer: str, corpus: Corpus, clips: int) -> Rate:
    """Write the tokens of so many one-second clips as the flows do."""
    engine, rng, spent, busy = make_engine(writer), np.random.default_rng(SEED), 0.0, 0.0
    with session_scope(engine) as session:
        codec_id = int(session.scalars(text("SELECT min(id) FROM codecs")).one())
        run = start_run(session, "tokenize", "short", **NO_RUN, code_version="0")  # type: ignore[arg-type]
    for first in range(0, clips, BATCH):
        uris = [f"s3://short/{first + number}.flac" for number in range(BATCH)]
        with session_scope(engine) as session:
            listed = [ObjectVersion(uri, "v1", 20_000, datetime.now(UTC)) for uri in uris]
            add_clips(session, listed, uris)
            query = text("SELECT id FROM clips WHERE uri = ANY(:uris) ORDER BY uri")
            ids = session.scalars(query, {"uris": uris}).all()
        batch = [_short(rng, corpus, clip_id) for clip_id in ids]
        with session_scope(engine) as session:
            backend = session.scalars(text("SELECT pg_backend_pid()")).one()
            begun, ours, theirs = perf_counter(), process_time(), processor_ms(backend)
            save_tokens(session, codec_id, run.id, batch)
            session.commit()
            spent += perf_counter() - begun
            busy += process_time() - ours + (processor_ms(backend) - theirs) / 1000
    engine.dispose()
    written = -(-clips // BATCH) * BATCH
    return Rate(written / spent, written / busy)


def _short(rng: np.random.Generator, corpus: Corpus, clip_id: int) -> TokenizedContent:
    """Return a second of a clip."""
    at = int(rng.integers(0, corpus.codes.shape[1] - SHORT))
    codes = corpus.codes[rng.integers(len(corpus.codes)), at : at + SHORT].tolist()
    return TokenizedContent(
        clip_id=clip_id,
        sha256=rng.bytes(32),
        sample_rate=16_000,
        channels=1,
        num_samples=16_000,
        format="FLAC/PCM_16",
        peak=0.5,
        codes=(codes, codes * 2, codes * 4),
        levels=[-200] * SHORT,
        latent=([0.5] * 32, [0.5] * 32),
    )


def bytes_of(owner: str) -> dict[str, int]:
    """Return the bytes of each table with its indexes, the largest first."""
    query = text(
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC"
    )
    with create_engine(owner, poolclass=NullPool).connect() as connection:
        return dict(connection.execute(query).tuples().all())
