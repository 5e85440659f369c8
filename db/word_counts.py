"""What is counted over all contents: codes, near copies, and the motifs of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.bulk_insert import Row, insert_new
from db.models import LabelMotif, NearCopyKeys

_UNCOUNTED = text(
    """
    WITH uncounted AS MATERIALIZED ( -- from the keys alone: codes are read of what is to be counted
      SELECT s.content_sha256, s.codec_id FROM token_sequences s
      WHERE (s.content_sha256, s.codec_id) > (:content, :codec_id)
        AND s.codec_id <> ALL (ARRAY(SELECT id FROM codecs WHERE codebook_sizes[1] > 32768)) AND NOT EXISTS (
        SELECT FROM near_copy_keys k WHERE k.content_sha256 = s.content_sha256 AND k.codec_id = s.codec_id
          AND (k.content_sha256, k.codec_id) > (:content, :codec_id))
      ORDER BY s.content_sha256, s.codec_id LIMIT :limit)
    SELECT s.content_sha256, s.codec_id, s.semantic
    FROM uncounted u JOIN token_sequences s ON s.content_sha256 = u.content_sha256 AND s.codec_id = u.codec_id
    ORDER BY s.content_sha256, s.codec_id
    """
)
CANDIDATES_PER_COPY = 10
"""Contents that share a key are compared up to this many times the copies wanted: most overlap by less."""
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('count words', 0))")
_ADD = text(
    """
    INSERT INTO code_counts AS c (codec_id, code, contents, occurrences)
    SELECT :codec_id, * FROM unnest(CAST(:codes AS smallint[]), CAST(:contents AS bigint[]),
      CAST(:occurrences AS bigint[]))
    ON CONFLICT (codec_id, code) DO UPDATE SET contents = c.contents + excluded.contents,
      occurrences = c.occurrences + excluded.occurrences
    """
)
_NEAR_COPIES = text(
    """
    INSERT INTO near_copies (content_sha256, codec_id, other_sha256, overlap)
    SELECT least(n.content_sha256, f.content_sha256), n.codec_id,
      greatest(n.content_sha256, f.content_sha256), f.overlap
    FROM near_copy_keys n
    JOIN token_sequences s ON s.content_sha256 = n.content_sha256 AND s.codec_id = n.codec_id
    CROSS JOIN LATERAL (
      SELECT o.content_sha256, o.overlap FROM (
        SELECT c.content_sha256, analytics.code_overlap(s.semantic, t.semantic) AS overlap
        FROM (
          SELECT k.content_sha256 FROM near_copy_keys k
          WHERE k.keys && n.keys AND k.codec_id = n.codec_id AND k.content_sha256 <> n.content_sha256
          LIMIT :candidates) c
        JOIN token_sequences t ON t.content_sha256 = c.content_sha256 AND t.codec_id = n.codec_id
        OFFSET 0) o -- keeps the overlap from being computed twice
      WHERE o.overlap >= :least LIMIT :most) f
    WHERE n.codec_id = :codec_id AND n.content_sha256 = ANY(:contents) ON CONFLICT DO NOTHING
    """
)
_LIBRARIES = text("SELECT DISTINCT library, task FROM current_answers ORDER BY library, task")
_SAMPLE = text(
    """
    SELECT s.codec_id, n.label, s.semantic[1 : 500] FROM (
      SELECT a.label, a.content_sha256,
        row_number() OVER (PARTITION BY a.label ORDER BY a.content_sha256) AS place
      FROM current_answers a WHERE a.library = :library AND a.task = :task AND a.status = 'labeled'
    ) n JOIN token_sequences s ON s.content_sha256 = n.content_sha256
    WHERE n.place <= 200 AND s.semantic IS NOT NULL ORDER BY s.codec_id, n.label, s.content_sha256
    """
)
_FORGET_MOTIFS = text("SELECT forget_motifs(:library, :task)")
_SETTLE = text("SELECT settle_code_index()")
_LOCK_MOTIFS = text("SELECT pg_advisory_xact_lock(hashtextextended('count motifs', 0))")


@dataclass(frozen=True)
class LabeledSequence:
    """The first semantic codes of a content that is surely labeled."""

    codec_id: int
    label: str
    codes: Sequence[int]


Place = tuple[bytes, int]
"""A content's sha256 and a codec, in the order of which sequences are counted."""
START: Place = (b"", 0)


@dataclass(frozen=True)
class CodeSequence:
    """The semantic codes of a content."""

    content_sha256: bytes
    codec_id: int
    codes: Sequence[int]

    @property
    def place(self) -> Place:
        return self.content_sha256, self.codec_id


def uncounted_sequences(session: Session, after: Place, limit: int) -> list[CodeSequence]:
    """Return up to `limit` sequences that are not counted, in order of content and codec, behind a place.

    Others who count wait for this transaction.
    """
    session.execute(_LOCK)
    rows = session.execute(_UNCOUNTED, {"content": after[0], "codec_id": after[1], "limit": limit})
    return [CodeSequence(bytes(content), codec_id, codes) for content, codec_id, codes in rows]


def add_counts(session: Session, codec_id: int, counts: Mapping[int, tuple[int, int]]) -> None:
    """Add the numbers of contents and of occurrences of codes."""
    ordered = sorted(counts.items())
    session.execute(
        _ADD,
        {
            "codec_id": codec_id,
            "codes": [code for code, _ in ordered],
            "contents": [contents for _, (contents, _) in ordered],
            "occurrences": [occurrences for _, (_, occurrences) in ordered],
        },
    )


def add_near_copies(
    session: Session, codec_id: int, keys: Mapping[bytes, Sequence[int]], least: float, most: int
) -> int:
    """Store the keys of contents and up to `most` copies of each that overlap by `least`; return how many."""
    rows = [{"content_sha256": one, "codec_id": codec_id, "keys": list(keys[one])} for one in sorted(keys)]
    insert_new(session, NearCopyKeys, rows)
    session.execute(text("SET LOCAL enable_seqscan = off"))  # a key is rare, which the planner cannot know
    bounds = {"least": least, "most": most, "candidates": CANDIDATES_PER_COPY * most}
    found = session.execute(_NEAR_COPIES, {"codec_id": codec_id, "contents": list(keys)} | bounds)
    return found.rowcount  # type: ignore[attr-defined, no-any-return]


def counted_libraries(session: Session) -> list[tuple[str, str]]:
    """Return the libraries with current answers, each with its task."""
    return list(session.execute(_LIBRARIES).tuples())


def labeled_sequences(session: Session, library: str, task: str) -> list[LabeledSequence]:
    """Return up to 200 contents of each label, the same ones every time, by codec.

    Others who count motifs wait for this transaction.
    """
    session.execute(_LOCK_MOTIFS)
    rows = session.execute(_SAMPLE, {"library": library, "task": task})
    return [LabeledSequence(*row) for row in rows]


def replace_motifs(session: Session, library: str, task: str, motifs: Sequence[Row]) -> None:
    """Write the motifs of a library's labels in place of those that were there."""
    of_library = {"library": library, "task": task}
    session.execute(_FORGET_MOTIFS, of_library)
    insert_new(session, LabelMotif, [of_library | dict(row) for row in motifs])


def settle_code_index(session: Session) -> int:
    """Put codes that were written lately in their places in the index, and return the pages that they had.

    Until then each search for codes reads all of them.
    """
    return int(session.scalars(_SETTLE).one())
