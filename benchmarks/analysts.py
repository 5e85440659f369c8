"""How long an analyst waits for the documented queries on a large database.

`python -m benchmarks.analysts [--clips N]` starts an embedded Postgres, fills it in bulk, runs each query of
the first SQL block of docs/analysts.md as the analyst, and prints the seconds, the bar and a JSON line.

The rows are those of 30 nights: two versions of the library `sounds`, of which the first is promoted, and a
library `calls` without a promotion; some answers are retracted and given again, some clips share their
content, some were replaced and some are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from benchmarks.machine import seconds_of
from benchmarks.recorded import verdict
from benchmarks.scale_out import ask, fresh_database
from db.embedded import server as embedded

CLIPS = 300_000
BAR_SECONDS = 5.0
PAGE = Path(__file__).parents[1] / "docs" / "analysts.md"
NAME = "analysts"

ORIGINS = """
INSERT INTO codecs (id, fingerprint, name, config, sample_rate, codebook_sizes, code_samples)
VALUES (1, 'codec', 'mini-codec', '{}', 16000, '{1024, 256, 256}', '{1920, 960, 480}');
INSERT INTO codebook_words (codec_id, layer, code, word) SELECT 1, 0, code, 'word' || code
FROM generate_series(0, 1023) AS code;
INSERT INTO llms (id, fingerprint, name) VALUES (1, 'llm', 'mini-llama');
INSERT INTO demonstration_sets (id, name, version, task, content_hash)
SELECT id, name, version, 'label', sha256(convert_to(name || version, 'UTF8'))
FROM (VALUES (1, 'sounds', 1), (2, 'sounds', 2), (3, 'calls', 1)) AS libraries (id, name, version);
INSERT INTO promotions (task, library, demonstration_set_id, codec_id, llm_id)
VALUES ('label', 'sounds', 1, 1, 1);
INSERT INTO runs (id, kind, partition_key, code_version, parameters, status, finished_at)
SELECT md5('night ' || night)::uuid, 'label', 's3://calls/' || night, '0', '{}', 'completed', now()
FROM generate_series(0, 29) AS night;
"""
CONTENTS = """
INSERT INTO contents (sha256, sample_rate, channels, num_samples, format, peak)
SELECT sha256(convert_to(number::text, 'UTF8')), 16000, 1, 16000, 'FLAC/PCM_16', 0.5
FROM generate_series(1, :clips) AS number WHERE number % 50 <> 0;
"""
SHA256 = "sha256(convert_to((number - (number % 50 = 0)::integer)::text, 'UTF8'))"
"""Every 50th clip has the content of the one before it."""
UPLOADED = "timestamptz '2026-11-01' + number % 30 * interval '1 day'"
LISTED = f"""
INSERT INTO clips (uri, version_token, size, last_modified, content_sha256, first_seen, missing_since)
SELECT 's3://calls/' || number % 30 || '/' || number || '.flac', :version, 20000, {UPLOADED},
  {SHA256}, {UPLOADED}, CASE WHEN :missing THEN {UPLOADED} + interval '1 day' END
FROM generate_series(1, :clips) AS number WHERE
"""
TOKENS = f"""
INSERT INTO token_sequences (content_sha256, codec_id, semantic, acoustic1, acoustic2, levels, run_id)
SELECT {SHA256}, 1, codes[1:8], codes[1:16], codes[1:32], array_fill(-200::smallint, '{{8}}'),
  md5('night ' || number % 30)::uuid
FROM generate_series(1, :clips) AS number, LATERAL (
  SELECT array_agg(((number % 9973 * 7919 + place * 10473) % 256)::smallint) AS codes
  FROM generate_series(1, 32) AS place
) AS random WHERE number % 50 <> 0;
"""
ANSWERS = f"""
INSERT INTO predictions (work_key, content_sha256, task, demonstration_set_id, codec_id, llm_id, labeler,
  label, probabilities, margin, min_margin, baselines, is_demonstration, provenance, seed, run_id, created_at,
  retracted_by_run)
SELECT sha256(convert_to(number || ' ' || :library || ' ' || :after, 'UTF8')), {SHA256}, 'label', :library, 1,
  CASE WHEN :library < 3 THEN 1 END, CASE WHEN :library < 3 THEN 'few-shot' ELSE 'nearest' END,
  label, jsonb_build_object('dog', 0.2, 'cat', 0.2, 'rain', 0.1, 'siren', 0.1, 'bell', 0.1)
    || jsonb_build_object(label, 0.5), (number % 97) / 100.0, 0.1,
  jsonb_build_object('chance', 0.2, 'majority', 'dog', 'nearest', label, 'nearest_latent', label),
  number % 1000 = 0, '{{"prompt_hash": "ab", "windows": 1}}', number, md5('night ' || number % 30)::uuid,
  {UPLOADED} + :after * interval '1 hour',
  CASE WHEN :retracted THEN md5('night 29')::uuid END
FROM generate_series(1, :clips) AS number, LATERAL (
  SELECT (ARRAY['dog', 'cat', 'rain', 'siren', 'bell'])[1 + number % 5] AS label
) AS answer WHERE number % 50 <> 0 AND
"""


def fill(url: str, clips: int) -> None:
    """Write the rows of every table in bulk, as the owner, and update the planner's statistics."""
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:

        def write(statement: str, **values: object) -> None:
            connection.execute(text(statement), {"clips": clips} | values)

        connection.exec_driver_sql(ORIGINS)
        write(CONTENTS)
        write(LISTED + "number % 40 = 0", version="replaced", missing=True)
        write(LISTED + "number % 33 <> 0", version="current", missing=False)
        write(LISTED + "number % 33 = 0", version="gone", missing=True)
        write(TOKENS)
        connection.exec_driver_sql("ALTER TABLE predictions DISABLE TRIGGER inserted_answers")
        write(ANSWERS + "number % 20 = 0", library=1, after=1, retracted=True)
        write(ANSWERS + "true", library=1, after=2, retracted=False)
        write(ANSWERS + "number % 2 = 0", library=2, after=48, retracted=False)
        write(ANSWERS + "number % 3 = 0", library=3, after=3, retracted=False)
        connection.exec_driver_sql("ALTER TABLE predictions ENABLE TRIGGER inserted_answers")
        connection.exec_driver_sql("INSERT INTO current_answers SELECT * FROM current_answers_defined")
        connection.exec_driver_sql("VACUUM ANALYZE")


def documented_queries() -> list[str]:
    """Return the statements of the first SQL block of the analysts' page."""
    block = re.search(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    return [query.strip() for query in block[1].split(";") if query.strip()]


def report(seconds: Mapping[str, float]) -> None:
    """Print the seconds of each query, the first one against its bar."""
    for query, spent in seconds.items():
        print(f"{spent:8.2f} s  {' '.join(query.split())}")
    first = next(iter(seconds.values()))
    print(f"  first query {first:.2f} s of {BAR_SECONDS} {verdict(first <= BAR_SECONDS)}")


def main() -> None:
    """Fill a database, run the queries and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=CLIPS)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        server = embedded.start(Path(folder) / "home")
        try:
            fresh_database(server, NAME)
            fill(server.url("owner", NAME), clips)
            analyst = server.url("analyst", NAME)
            seconds = {query: seconds_of(partial(ask, analyst, query)) for query in documented_queries()}
        finally:
            embedded.stop(Path(folder) / "home")
    report(seconds)
    print(json.dumps({"benchmark": "analysts", "cores": os.cpu_count(), "clips": clips, "seconds": seconds}))


if __name__ == "__main__":
    main()
