"""Rows of many clips, written in bulk: thirty nights, two libraries, promotions, retractions, past answers.

Of the library `sounds` there are two versions, of which the first is promoted and the second is answered by
another codec; `calls` has no promotion. Some
answers are retracted and given again, some took the place of another, some clips share their content, some
were replaced and some are missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, text

from benchmarks.analysts.corpus import LABELS, NUM_CODES, Corpus, make_corpus

SEED = 2026
NIGHTS = 30
COPY_ROWS = 20_000
FAST = "SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'; SET session_replication_role = replica"

ORIGINS = f"""
INSERT INTO codecs (id, fingerprint, name, config, sample_rate, codebook_sizes, code_samples)
SELECT id, 'codec ' || id, 'mini-codec', '{{}}', 16000, '{{{NUM_CODES}, 256, 256}}', '{{1920, 960, 480}}'
FROM generate_series(1, 2) AS id;
INSERT INTO codebook_words (codec_id, layer, code, word) SELECT 1, 0, code, 'word' || code
FROM generate_series(0, {NUM_CODES - 1}) AS code;
INSERT INTO llms (id, fingerprint, name) VALUES (1, 'llm', 'mini-llama');
INSERT INTO demonstration_sets (id, name, version, task, content_hash)
SELECT id, name, version, 'label', sha256(convert_to(name || version, 'UTF8'))
FROM (VALUES (1, 'sounds', 1), (2, 'sounds', 2), (3, 'calls', 1)) AS libraries (id, name, version);
INSERT INTO labeler_choices (demonstration_set_id, codec_id, llm_id, labeler, reason, chosen_by)
SELECT id, CASE WHEN id = 2 THEN 2 ELSE 1 END, CASE WHEN id < 3 THEN 1 END,
  CASE WHEN id < 3 THEN 'few-shot' ELSE 'nearest' END, 'by hand', 'person' FROM demonstration_sets;
INSERT INTO promotions (task, library, demonstration_set_id, codec_id, llm_id)
VALUES ('label', 'sounds', 1, 1, 1);
INSERT INTO runs (id, kind, partition_key, code_version, parameters, status, started_at, finished_at)
SELECT md5('night ' || night)::uuid, 'nightly-labeling', 'nightly-labeling s3://calls/' || night, '0',
  '{{"prefix": "s3://calls/{{day}}", "library": "sounds@1"}}', 'completed',
  timestamptz '2026-11-01 22:00Z' + night * interval '1 day',
  timestamptz '2026-11-01 23:00Z' + night * interval '1 day' FROM generate_series(0, {NIGHTS - 1}) AS night;
INSERT INTO runs (id, kind, partition_key, code_version, parameters, status, finished_at)
VALUES (md5('undo')::uuid, 'undo', 'undo', '0', '{{}}', 'completed', now());
CREATE UNLOGGED TABLE corpus (number BIGINT NOT NULL, semantic SMALLINT[] NOT NULL, label TEXT NOT NULL);
"""
SHA256 = "sha256(convert_to((number - (number % 50 = 0)::integer)::text, 'UTF8'))"
"""Every 50th clip has the content of the one before it."""
CONTENTS = f"""
INSERT INTO contents (sha256, sample_rate, channels, num_samples, format, peak)
SELECT {SHA256}, 16000, 1, 161280, 'FLAC/PCM_16', 0.5 FROM corpus WHERE number % 50 <> 0;
"""
UPLOADED = f"timestamptz '2026-11-01' + number % {NIGHTS} * interval '1 day'"
LISTED = f"""
INSERT INTO clips (uri, version_token, size, last_modified, content_sha256, first_seen, missing_since,
  is_newest)
SELECT 's3://calls/' || number % {NIGHTS} || '/' || number || '.flac', :version, 200000, {UPLOADED},
  {SHA256}, {UPLOADED}, CASE WHEN :missing THEN {UPLOADED} + interval '1 day' END, :version <> 'replaced'
FROM corpus WHERE
"""
TOKENS = f"""
INSERT INTO token_sequences (content_sha256, codec_id, semantic, acoustic1, acoustic2, levels, run_id)
SELECT {SHA256}, 1, semantic, semantic || semantic, semantic || semantic || semantic || semantic,
  array_fill(-200::smallint, ARRAY[cardinality(semantic)]), md5('night ' || number % {NIGHTS})::uuid
FROM corpus WHERE number % 50 <> 0;
"""
DEMONSTRATIONS = f"""
INSERT INTO demonstrations (demonstration_set_id, ordinal, content_sha256, label, uri)
SELECT s.id, row_number() OVER (PARTITION BY s.id ORDER BY number) - 1, {SHA256}, label, 'file:///' || number
FROM demonstration_sets s, (SELECT DISTINCT ON (label) * FROM corpus ORDER BY label, number) shown;
"""
ANSWERS = f"""
INSERT INTO predictions (work_key, content_sha256, task, demonstration_set_id, codec_id, llm_id, labeler,
  label, probabilities, margin, min_margin, baselines, is_demonstration, provenance, seed, run_id, created_at,
  retracted_by_run)
SELECT sha256(convert_to(number || ' ' || :library || ' ' || :after, 'UTF8')), {SHA256}, 'label', :library,
  CASE WHEN :library = 2 THEN 2 ELSE 1 END, CASE WHEN :library < 3 THEN 1 END,
  CASE WHEN :library < 3 THEN 'few-shot' ELSE 'nearest' END, answer,
  jsonb_build_object('dog', 0.2, 'cat', 0.2, 'rain', 0.1, 'siren', 0.1, 'bell', 0.1)
    || jsonb_build_object(answer, 0.5), number * 7919 % 1000003 / 1000003.0, 0.1,
  jsonb_build_object('chance', 0.2, 'majority', 'dog', 'nearest', label, 'nearest_latent', label,
    'labelers', jsonb_build_object('nearest', jsonb_build_object('label', label, 'probability', 0.5))),
  number % 1000 = 0, '{{"prompt_hash": "ab", "windows": 1}}', number,
  md5('night ' || number % {NIGHTS})::uuid, {UPLOADED} + :after * interval '1 hour',
  CASE WHEN :retracted THEN md5('undo')::uuid END
FROM corpus, LATERAL (SELECT CASE WHEN number % 7 = :library THEN 'dog' ELSE label END AS answer) AS given
WHERE number % 50 <> 0 AND
"""
CURRENT = """
INSERT INTO current_answers SELECT d.*, d.created_at FROM current_answers_defined d;
INSERT INTO past_answers
SELECT content_sha256, task, library, prediction_id, 'cat', margin, status, is_promoted, is_chosen,
  is_demonstration, created_at, created_at - interval '1 hour', created_at
FROM current_answers WHERE get_byte(content_sha256, 0) < 26;
INSERT INTO days_to_count (day) SELECT DISTINCT day FROM clips;
"""
SUMMARIES = """
UPDATE runs r SET summary = jsonb_build_object('labels', n.labels, 'uncertain', n.uncertain,
  'mean_margin', 0.5, 'agreement', '{"nearest": 0.9}'::jsonb, 'quarantined', '{}'::jsonb)
FROM (
  SELECT run_id, jsonb_object_agg(label, clips) AS labels, sum(uncertain) AS uncertain FROM (
    SELECT run_id, label, count(*) AS clips, count(*) FILTER (WHERE margin < min_margin) AS uncertain
    FROM predictions WHERE demonstration_set_id = 1 GROUP BY run_id, label) l
  GROUP BY run_id) n
WHERE r.id = n.run_id;
"""

Statement = tuple[str, Mapping[str, object]]
INDEX = "CREATE INDEX ix_token_sequences_marks ON token_sequences USING gin (analytics.code_marks(semantic))"


def _answers(which: str, library: int, after: int, retracted: bool = False) -> list[Statement]:
    return [(ANSWERS + which, {"library": library, "after": after, "retracted": retracted})]


def _listed(which: str, version: str, missing: bool) -> Statement:
    return LISTED + which, {"version": version, "missing": missing}


SIDE_BY_SIDE: Sequence[Sequence[Statement]] = (
    [
        _listed("number % 40 = 0", "replaced", missing=True),
        _listed("number % 33 <> 0", "current", missing=False),
        _listed("number % 33 = 0", "gone", missing=True),
    ],
    [("DROP INDEX ix_token_sequences_marks", {}), (TOKENS, {}), (INDEX, {}), (DEMONSTRATIONS, {})],
    [
        *_answers("number % 20 = 0", 1, 1, retracted=True),
        *_answers("true", 1, 2),
        *_answers("number % 2 = 0", 2, 48),
        *_answers("number % 3 = 0", 3, 3),
    ],
)
LAST: Sequence[Statement] = (
    ("DROP TABLE corpus", {}),
    ("ANALYZE predictions, promotions, labeler_choices, demonstration_sets", {}),
    (CURRENT, {}),
    (SUMMARIES, {}),
    ("VACUUM ANALYZE", {}),
)


def corpus_of(clips: int) -> Corpus:
    """Return the codes and classes of the clips, the same ones each time."""
    return make_corpus(clips, SEED)


def fill(url: str, corpus: Corpus) -> None:
    """Write the rows of every table in bulk, as the administrator, and update the planner's statistics.

    The index of codes is built when all are there, and triggers are off, those of foreign keys included:
    every row is as they would have it. Clips, codes and answers are written side by side.
    """
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(ORIGINS)
        _copy(connection, corpus)
    _write(engine, [(CONTENTS, {})])
    with ThreadPoolExecutor(len(SIDE_BY_SIDE)) as pool:
        for done in [pool.submit(_write, engine, statements) for statements in SIDE_BY_SIDE]:
            done.result()
    _write(engine, LAST)


def _copy(connection: Connection, corpus: Corpus) -> None:
    """Copy codes and labels; the first clip has the number 1."""
    cursor: Any = connection.connection.cursor()
    for first in range(0, len(corpus.codes), COPY_ROWS):
        rows = "".join(_lines(corpus, first, first + COPY_ROWS)).encode()
        cursor.copy_expert("COPY corpus FROM STDIN", BytesIO(rows))
    cursor.close()
    connection.exec_driver_sql("ANALYZE corpus")


def _lines(corpus: Corpus, first: int, last: int) -> Iterator[str]:
    written = [str(code) for code in range(NUM_CODES)]
    rows = zip(corpus.codes[first:last].tolist(), corpus.classes[first:last].tolist(), strict=True)
    for number, (codes, label) in enumerate(rows, start=first + 1):
        yield f"{number}\t{{{','.join([written[code] for code in codes])}}}\t{LABELS[label]}\n"


def _write(engine: Engine, statements: Sequence[Statement]) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(FAST)
        for statement, values in statements:
            connection.execute(text(statement), values)
