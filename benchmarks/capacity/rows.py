"""How large rows are that the benchmark of SQL leaves out, and codes in Parquet.

`python -m benchmarks.capacity.rows [CLIPS]` writes ten-second clips of the released shape, of random codes
and latents, into a Postgres of its own, and prints bytes a clip: of codes, pooled latents and log-mel
statistics with their indexes, and of codes as the lake has them.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyarrow as pa
from sqlalchemy import text

from benchmarks.database import BATCH, CONFIG, Tables, administer, tokenized
from core.embeddings.log_mel_model import DIMENSIONS
from db.embedded import server as embedded
from db.embeddings import ContentEmbedding, ensure_embedding_model
from db.engine import session_scope
from db.tokens import TokenizedContent
from flows.pipeline.files.arrow import write_parquet
from flows.pipeline.runtime.resources import LOG_MEL_MODEL

CLIPS = 5_000
SECONDS = 10
TABLES = ("token_sequences", "pooled_latents", "embeddings")
LAYERS = ("semantic", "acoustic1", "acoustic2", "levels")


def long_clip(tables: Tables, short: TokenizedContent, model_id: int) -> TokenizedContent:
    """Return a clip of ten seconds with what a night stores of it."""
    blocks = -(-SECONDS * CONFIG.sample_rate // CONFIG.block_length)
    pairs = zip(CONFIG.codebook_sizes, CONFIG.codes_per_block, strict=True)
    codes = [tables.rng.integers(0, size, blocks * count).tolist() for size, count in pairs]
    statistics = tables.rng.standard_normal(DIMENSIONS).tolist()
    levels = tables.rng.integers(-600, 0, len(codes[0])).tolist()
    embeddings = [ContentEmbedding(model_id, statistics, None, ())]
    return replace(short, codes=codes, levels=levels, embeddings=embeddings)


def clips(tables: Tables, number: int) -> Iterator[list[TokenizedContent]]:
    """Yield batches of clips that are stored nowhere yet."""
    with session_scope(tables.engine) as session:
        model_id = ensure_embedding_model(session, LOG_MEL_MODEL)
    for _ in range(0, number, BATCH):
        yield [
            long_clip(tables, tokenized(tables.rng, one.clip_id or 0), model_id) for one in tables.new_batch()
        ]


def parquet_bytes(batch: Sequence[TokenizedContent]) -> int:
    """Return the size of the codes and levels of clips as a file of the lake has them."""
    schema = pa.schema([(name, pa.list_(pa.int16())) for name in LAYERS])
    file = BytesIO()
    write_parquet(schema, ((*one.codes, one.levels) for one in batch), file)
    return len(file.getvalue())


def measure(tables: Tables, number: int) -> dict[str, float]:
    """Return bytes a clip by table, with indexes, and of codes in Parquet."""
    written: list[TokenizedContent] = []
    for batch in clips(tables, number):
        tables.save(batch)
        written += batch
    administer(tables.admin_url, "VACUUM (ANALYZE)")
    size = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    with session_scope(tables.engine) as session:
        sizes = {name: session.execute(size, {"name": name}).scalar_one() for name in TABLES}
    return {
        name: bytes_ / len(written) for name, bytes_ in (sizes | {"parquet": parquet_bytes(written)}).items()
    }


def main(number: int) -> None:
    """Print bytes a clip."""
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        server = embedded.start(Path(folder) / "home")
        try:
            measured = measure(Tables(server, "capacity"), number)
        finally:
            embedded.stop(Path(folder) / "home")
    for name, size in measured.items():
        print(f"  {name:<16}{size:>8.0f} bytes a clip of {SECONDS} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS)
