"""All tables, in the order in which a clip meets them.

Core types and core index classes only: the embedded server has no contrib extension. Rows that explain others
(contents, codecs, token sequences, libraries) are never changed once written; the grants of the migrations
enforce that for the writer.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Computed,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Integers, SmallIntegers

SHA256_BYTES = 32
NOT_FINITE = "^(....)*..[7f][c-f]"
"""Matches the hex of half-precision numbers, low byte first, with the exponent of infinity and NaN."""


def _sha256_check(column: str) -> CheckConstraint:
    return CheckConstraint(f"octet_length({column}) = {SHA256_BYTES}", name=f"{column}_length")


def _written_at() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class Content(Base):
    """The bytes of an audio object, stored once for all uris; written after a full decode.

    `checks` is 0 for a content read before decoding was checked against the file's promises (see db.recheck).
    """

    __tablename__ = "contents"
    __table_args__ = (
        _sha256_check("sha256"),
        CheckConstraint("sample_rate > 0 AND channels > 0 AND num_samples > 0", name="shape"),
        Index("ix_contents_unchecked", "sha256", postgresql_where=text("checks = 0")),
    )

    sha256: Mapped[bytes] = mapped_column(primary_key=True)
    sample_rate: Mapped[int] = mapped_column(Integer)
    channels: Mapped[int] = mapped_column(SmallInteger)
    num_samples: Mapped[int] = mapped_column(BigInteger)
    duration: Mapped[float] = mapped_column(
        Computed("num_samples::double precision / sample_rate::double precision", persisted=True)
    )
    format: Mapped[str]
    peak: Mapped[float]
    checks: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))


class Clip(Base):
    """One version of one audio object. The current version of a uri has no `missing_since`.

    Triggers keep `is_newest`: the current version of a uri, else the one that was missed last. `day` is that
    of the first folder that is a date, else of `last_modified`.
    """

    __tablename__ = "clips"
    __table_args__ = (
        UniqueConstraint("uri", "version_token"),
        Index("uq_clips_current_uri", "uri", unique=True, postgresql_where=text("missing_since IS NULL")),
        Index(None, "content_sha256", postgresql_include=["first_seen", "missing_since", "is_newest"]),
        Index(None, "day"),
        Index(None, "missing_since", postgresql_where=text("missing_since IS NOT NULL")),
        Index("ix_clips_replaced", "uri", "id", postgresql_where=text("NOT is_newest")),
        CheckConstraint("size >= 0", name="size"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    # Bytewise order is that of an S3 listing, and lets a prefix use the index whatever the server's locale.
    uri: Mapped[str] = mapped_column(Text(collation="C"))
    version_token: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    last_modified: Mapped[datetime]
    content_sha256: Mapped[bytes | None] = mapped_column(ForeignKey("contents.sha256"))
    first_seen: Mapped[datetime] = _written_at()
    missing_since: Mapped[datetime | None]
    is_newest: Mapped[bool] = mapped_column(server_default=text("true"))
    day: Mapped[date] = mapped_column(
        Computed("day_of_clip(uri, last_modified)", persisted=True), nullable=True
    )


class Run(Base):
    """One execution of a flow over one partition; every written row names the run that wrote it.

    `asked` has the parameters of the request, if some were fixed when the run began. `flow_run_id` is
    Prefect's id of its last flow run; those of its earlier attempts are kept too. `figures` are for
    monitoring: `name/stage/detail` -> number, of this run's own processes. `price_per_hour` is that of the
    machine on which it began.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "flow_run_id"),
        Index(None, "kind", "partition_key", postgresql_where=text("status = 'running'")),
        CheckConstraint("status IN ('running', 'completed', 'failed', 'cancelled')", name="status"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("attempts > 0", name="attempts"),
        CheckConstraint("price_per_hour >= 0", name="price_per_hour"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    partition_key: Mapped[str]
    flow_run_id: Mapped[str | None]
    earlier_flow_runs: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default=text("'{}'::text[]"), deferred=True
    )
    code_version: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    asked: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    day: Mapped[date | None]
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    figures: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    summary: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    status: Mapped[str] = mapped_column(server_default=text("'running'"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    started_at: Mapped[datetime] = _written_at()
    finished_at: Mapped[datetime | None]
    asked_by: Mapped[str | None]
    price_per_hour: Mapped[float | None]


class ExploreAddress(Base):
    """The address of the pages to look and listen, for links to them."""

    __tablename__ = "explore_address"
    __table_args__ = (CheckConstraint("is_current", name="one_row"),)

    is_current: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    url: Mapped[str]


class Codec(Base):
    """A codec by its fingerprint. `code_samples` is the number of samples per code of each layer."""

    __tablename__ = "codecs"
    __table_args__ = (
        UniqueConstraint("fingerprint"),
        CheckConstraint(
            "cardinality(codebook_sizes) > 0 AND cardinality(code_samples) = cardinality(codebook_sizes)",
            name="layers",
        ),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    fingerprint: Mapped[str]
    name: Mapped[str]
    config: Mapped[dict[str, Any]]
    sample_rate: Mapped[int] = mapped_column(Integer)
    codebook_sizes: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    code_samples: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    created_at: Mapped[datetime] = _written_at()


class CodebookWord(Base):
    """The word of a code of a layer."""

    __tablename__ = "codebook_words"
    __table_args__ = (Index(None, "word"),)

    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"), primary_key=True)
    layer: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    code: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    word: Mapped[str]


class Llm(Base):
    """A language model by its fingerprint."""

    __tablename__ = "llms"
    __table_args__ = (UniqueConstraint("fingerprint"),)

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    fingerprint: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime] = _written_at()


class TokenSequence(Base):
    """Codes of one content by one codec, and the level (RMS, tenths of dB) under each code of layer 0.

    An LLM-Codec has three layers. `codes` has all layers of any other codec one after another, and `semantic`
    its layer 0, unless that has codes above 32,767.
    """

    __tablename__ = "token_sequences"
    __table_args__ = (
        CheckConstraint(
            "cardinality(levels) > 0 AND coalesce(cardinality(semantic), cardinality(levels))"
            " = cardinality(levels) AND CASE WHEN codes IS NULL"
            " THEN num_nulls(semantic, acoustic1, acoustic2) = 0"
            " AND cardinality(acoustic1) > 0 AND cardinality(acoustic1) % cardinality(semantic) = 0"
            " AND cardinality(acoustic2) > 0 AND cardinality(acoustic2) % cardinality(acoustic1) = 0"
            " ELSE num_nonnulls(acoustic1, acoustic2) = 0 AND cardinality(codes) > 0"
            " AND cardinality(codes) % cardinality(levels) = 0 END",
            name="lengths",
        ),
        CheckConstraint(
            "0 <= ALL (semantic) AND 0 <= ALL (acoustic1) AND 0 <= ALL (acoustic2) AND 0 <= ALL (codes)",
            name="codes",
        ),
        Index("ix_token_sequences_marks", text("analytics.code_marks(semantic)"), postgresql_using="gin"),
        Index(
            "ix_token_sequences_wide",
            text("(codes[1:cardinality(levels)])"),
            postgresql_using="gin",
            postgresql_where=text("semantic IS NULL"),
        ),
    )

    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"), primary_key=True)
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"), primary_key=True)
    semantic: Mapped[list[int] | None] = mapped_column(SmallIntegers)
    acoustic1: Mapped[list[int] | None] = mapped_column(SmallIntegers)
    acoustic2: Mapped[list[int] | None] = mapped_column(SmallIntegers)
    levels: Mapped[list[int]] = mapped_column(SmallIntegers)
    codes: Mapped[list[int] | None] = mapped_column(Integers)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), index=True)
    created_at: Mapped[datetime] = _written_at()


class CodeCount(Base):
    """How many contents have a semantic code, and how often: of contents with a row in near_copy_keys."""

    __tablename__ = "code_counts"

    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"), primary_key=True)
    code: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    contents: Mapped[int] = mapped_column(BigInteger)
    occurrences: Mapped[int] = mapped_column(BigInteger)


class NearCopyKeys(Base):
    """Keys of a content's codes, of which near copies share one; its codes are counted with this row.

    A trigger of token_sequences deletes it and counts back.
    """

    __tablename__ = "near_copy_keys"
    __table_args__ = (Index(None, "keys", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),)

    content_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    codec_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class NearCopy(Base):
    """Two contents whose codes overlap, the one with the smaller digest first."""

    __tablename__ = "near_copies"
    __table_args__ = (
        Index(None, "other_sha256", "codec_id"),
        CheckConstraint("overlap BETWEEN 0 AND 1", name="overlap"),
        ForeignKeyConstraint(
            ["content_sha256", "codec_id"],
            ["near_copy_keys.content_sha256", "near_copy_keys.codec_id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["other_sha256", "codec_id"],
            ["near_copy_keys.content_sha256", "near_copy_keys.codec_id"],
            ondelete="CASCADE",
        ),
    )

    content_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    codec_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    other_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    overlap: Mapped[float]


class PooledLatent(Base):
    """Mean and deviation over time of a codec's latents, in little-endian half precision.

    Tokens written before there were latents have none until their clip is tokenized again.
    """

    __tablename__ = "pooled_latents"
    __table_args__ = (
        ForeignKeyConstraint(
            ["content_sha256", "codec_id"], ["token_sequences.content_sha256", "token_sequences.codec_id"]
        ),
        CheckConstraint(
            "octet_length(mean) > 0 AND octet_length(mean) % 2 = 0"
            " AND octet_length(deviation) = octet_length(mean)",
            name="lengths",
        ),
        CheckConstraint(
            f"encode(mean, 'hex') !~ '{NOT_FINITE}' AND encode(deviation, 'hex') !~ '{NOT_FINITE}'",
            name="finite",
        ),
    )

    content_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    codec_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    mean: Mapped[bytes]
    deviation: Mapped[bytes]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), index=True)
    created_at: Mapped[datetime] = _written_at()


class EmbeddingModel(Base):
    """An embedding model by its fingerprint. A tagger has `classes`, which sound tags name from 0."""

    __tablename__ = "embedding_models"
    __table_args__ = (
        UniqueConstraint("fingerprint"),
        CheckConstraint('dimensions > 0 AND "window" > 0 AND hop > 0', name="sizes"),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    fingerprint: Mapped[str]
    name: Mapped[str]
    dimensions: Mapped[int] = mapped_column(Integer)
    window: Mapped[float] = mapped_column(Double)
    hop: Mapped[float] = mapped_column(Double)
    license: Mapped[str]
    classes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = _written_at()


class Embedding(Base):
    """What an embedding model makes of one content: means over its windows, `scores` of a tagger alone."""

    __tablename__ = "embeddings"
    __table_args__ = (
        CheckConstraint(
            "cardinality(embedding) > 0 AND array_position(embedding, 'NaN'::real) IS NULL", name="embedding"
        ),
    )

    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"), primary_key=True)
    embedding_model_id: Mapped[int] = mapped_column(ForeignKey("embedding_models.id"), primary_key=True)
    embedding: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    scores: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), index=True)
    created_at: Mapped[datetime] = _written_at()


class SoundTags(Base):
    """The best classes of each window of one content: windows by number, classes by number, scores."""

    __tablename__ = "sound_tags"
    __table_args__ = (
        ForeignKeyConstraint(
            ["content_sha256", "embedding_model_id"],
            ["embeddings.content_sha256", "embeddings.embedding_model_id"],
        ),
        CheckConstraint(
            "cardinality(windows) > 0 AND cardinality(classes) = cardinality(windows)"
            " AND cardinality(scores) = cardinality(windows)",
            name="lengths",
        ),
        CheckConstraint("0 <= ALL (windows) AND 0 <= ALL (classes)", name="numbers"),
    )

    content_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    embedding_model_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    windows: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    classes: Mapped[list[int]] = mapped_column(SmallIntegers)
    scores: Mapped[list[float]] = mapped_column(ARRAY(REAL))


class WindowEmbeddings(Base):
    """The embedding of each window of one content, in half precision, one after the other.

    They are kept only where events were asked for: they take far more room than codes.
    """

    __tablename__ = "window_embeddings"
    __table_args__ = (
        ForeignKeyConstraint(
            ["content_sha256", "embedding_model_id"],
            ["embeddings.content_sha256", "embeddings.embedding_model_id"],
            name="fk_window_embeddings_embeddings",  # Postgres cuts names after 63 characters
        ),
        CheckConstraint("octet_length(vectors) > 0 AND octet_length(vectors) % 2 = 0", name="vectors"),
        Index(None, "run_id"),
    )

    content_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    embedding_model_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    vectors: Mapped[bytes]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()


class DemonstrationSet(Base):
    """A frozen version of a library of demonstrations."""

    __tablename__ = "demonstration_sets"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("name", "content_hash"),
        CheckConstraint("version > 0", name="version"),
        _sha256_check("content_hash"),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    name: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    task: Mapped[str]
    instruction: Mapped[str | None]
    content_hash: Mapped[bytes]
    created_at: Mapped[datetime] = _written_at()


class DemonstrationRow(Base):
    """One clip of a library version, with its position in the prompt and its answer.

    `label` is the label of the clip, or its spoken text. A noisy clip has its clean one as target instead.
    """

    __tablename__ = "demonstrations"
    __table_args__ = (
        Index(None, "content_sha256"),
        Index(None, "target_content_sha256"),
        CheckConstraint(
            "num_nonnulls(label, target_content_sha256) = 1"
            " AND num_nonnulls(target_content_sha256, target_uri) <> 1",
            name="answer",
        ),
    )

    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"))
    label: Mapped[str | None]
    uri: Mapped[str]
    target_content_sha256: Mapped[bytes | None] = mapped_column(ForeignKey("contents.sha256"))
    target_uri: Mapped[str | None]


class LibraryUse(Base):
    """The start of the use of a library version, which a bare name means; the newest row counts."""

    __tablename__ = "library_uses"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    used_since: Mapped[datetime] = _written_at()


class PredictionRow(Base):
    """One answer. Its work key is unique among answers that are not retracted.

    Probabilities are calibrated if there is a calibration, and the raw ones are kept. `distance` is from the
    nearest demonstration; above `max_distance` the clip is unknown.
    """

    __tablename__ = "predictions"
    __table_args__ = (
        Index(
            "uq_predictions_work_key",
            "work_key",
            unique=True,
            postgresql_where=text("retracted_by_run IS NULL"),
        ),
        Index(None, "content_sha256", "task"),
        Index(None, "run_id"),
        _sha256_check("work_key"),
        CheckConstraint("margin BETWEEN 0 AND 1", name="margin"),
        CheckConstraint("min_margin BETWEEN 0 AND 1", name="min_margin"),
        CheckConstraint("(jsonb_typeof(probabilities -> label) = 'number') IS TRUE", name="probability"),
        CheckConstraint("jsonb_typeof(baselines -> 'chance') = 'number'", name="chance"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    work_key: Mapped[bytes]
    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"))
    task: Mapped[str]
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"))
    llm_id: Mapped[int | None] = mapped_column(ForeignKey("llms.id"))
    labeler: Mapped[str]
    label: Mapped[str]
    probabilities: Mapped[dict[str, Any]]
    margin: Mapped[float]
    min_margin: Mapped[float]
    baselines: Mapped[dict[str, Any]]
    is_demonstration: Mapped[bool]
    provenance: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()
    retracted_by_run: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    calibration: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    raw_probabilities: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    distance: Mapped[float | None]
    max_distance: Mapped[float | None]


class _CountingAnswer:
    """The columns of an answer that counts, or counted, for a content, task and library."""

    content_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    library: Mapped[str] = mapped_column(primary_key=True)
    prediction_id: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str]
    margin: Mapped[float]
    status: Mapped[str]
    is_promoted: Mapped[bool]
    is_chosen: Mapped[bool]
    is_demonstration: Mapped[bool]
    created_at: Mapped[datetime]


class CurrentAnswer(_CountingAnswer, Base):
    """The answer that counts for a content, task and library.

    Triggers of predictions, promotions and labeler_choices keep it as the view current_answers_defined says.
    """

    __tablename__ = "current_answers"
    __table_args__ = (
        # what questions about all labels read
        PrimaryKeyConstraint(
            "content_sha256",
            "task",
            "library",
            postgresql_include=["label", "margin", "since", "prediction_id"],
        ),
        Index(None, "library", "margin"),
        Index(None, "since"),
    )

    since: Mapped[datetime] = _written_at()


class PastAnswer(_CountingAnswer, Base):
    """What was the current answer for a content, task and library from `since` until `until`.

    Triggers of current_answers keep it.
    """

    __tablename__ = "past_answers"
    __table_args__ = (
        Index(None, "until"),
        CheckConstraint("since < until", name="span"),
    )

    # behind the inherited columns, so that the key finds a content
    since: Mapped[datetime] = mapped_column(primary_key=True, sort_order=1)
    until: Mapped[datetime]


class DayToCount(Base):
    """A day whose clips or answers changed after they were counted. Triggers mark it.

    Who counts it takes the marks first; what is written from then on marks it again.
    """

    __tablename__ = "days_to_count"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    day: Mapped[date]
    is_taken: Mapped[bool] = mapped_column(server_default=text("false"))


class LabelCountRow(Base):
    """How many clips of a day have a label by a library, and the sum of their margins."""

    __tablename__ = "label_counts"

    day: Mapped[date] = mapped_column(primary_key=True)
    library: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(primary_key=True)
    clips: Mapped[int] = mapped_column(BigInteger)
    margins: Mapped[float]


class AgreementCount(Base):
    """How many clips of a day have a label by some models, and another label by other models.

    A fingerprint of an LLM is empty where none was asked.
    """

    __tablename__ = "agreement_counts"

    day: Mapped[date] = mapped_column(primary_key=True)
    library: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    codec_fingerprint: Mapped[str] = mapped_column(primary_key=True)
    llm_fingerprint: Mapped[str] = mapped_column(primary_key=True)
    other_version: Mapped[int] = mapped_column(primary_key=True)
    other_codec_fingerprint: Mapped[str] = mapped_column(primary_key=True)
    other_llm_fingerprint: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    other_label: Mapped[str] = mapped_column(primary_key=True)
    clips: Mapped[int] = mapped_column(BigInteger)


class LabelMotif(Base):
    """How many contents of a label have codes one after another, and how many of the library's others."""

    __tablename__ = "label_motifs"
    __table_args__ = (CheckConstraint("cardinality(codes) BETWEEN 1 AND 4", name="codes"),)

    label: Mapped[str] = mapped_column(primary_key=True)
    library: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"), primary_key=True)
    codes: Mapped[list[int]] = mapped_column(SmallIntegers, primary_key=True)
    contents: Mapped[int] = mapped_column(Integer)
    of_contents: Mapped[int] = mapped_column(Integer)
    elsewhere: Mapped[int] = mapped_column(Integer)
    of_elsewhere: Mapped[int] = mapped_column(Integer)
    counted_at: Mapped[datetime] = _written_at()


class EventSet(Base):
    """What a labeler heard when in one content: none or many events.

    Its work key is unique among those that are not retracted.
    """

    __tablename__ = "event_sets"
    __table_args__ = (
        Index(
            "uq_event_sets_work_key",
            "work_key",
            unique=True,
            postgresql_where=text("retracted_by_run IS NULL"),
        ),
        Index(None, "content_sha256"),
        Index(None, "run_id"),
        _sha256_check("work_key"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    work_key: Mapped[bytes]
    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"))
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"))
    embedding_model_id: Mapped[int] = mapped_column(ForeignKey("embedding_models.id"))
    labeler: Mapped[str]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()
    retracted_by_run: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))


class EventRow(Base):
    """A label and where it is heard, in seconds."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("0 <= start_s AND start_s < end_s", name="times"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
    )

    event_set_id: Mapped[int] = mapped_column(ForeignKey("event_sets.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    label: Mapped[str]
    start_s: Mapped[float] = mapped_column(Double)
    end_s: Mapped[float] = mapped_column(Double)
    score: Mapped[float] = mapped_column(Double)


class LabelerChoice(Base):
    """The labeler chosen for a library version and its models, until a later row of the same.

    `measured` is the comparison that the choice was made from, if there was one. The choice selects answers
    of the same labeler and calibration.
    """

    __tablename__ = "labeler_choices"
    __table_args__ = (
        Index(None, "demonstration_set_id", "codec_id"),
        CheckConstraint(
            "measured IS NULL OR jsonb_typeof(measured -> 'candidates') = 'array'", name="measured"
        ),
        CheckConstraint(
            "chosen_by IN ('run', 'person', 'upgrade') AND (chosen_by = 'run') = (run_id IS NOT NULL)",
            name="chosen_by",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"))
    llm_id: Mapped[int | None] = mapped_column(ForeignKey("llms.id"))
    labeler: Mapped[str]
    calibration: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    reason: Mapped[str]
    measured: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    chosen_by: Mapped[str]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()


class QueuedReview(Base):
    """A clip of a library's queue, the answer that a person is asked to judge, and why this clip.

    `drawn` is chosen for what its review would settle, or random to measure. Of a library the newest queue
    counts. `uri` is that of the clip when it was queued.
    """

    __tablename__ = "review_queue"
    __table_args__ = (
        UniqueConstraint("run_id", "position"),
        UniqueConstraint("run_id", "content_sha256"),
        Index(None, "demonstration_set_id", "id"),
        Index(None, "content_sha256"),
        Index(None, "prediction_id"),
        CheckConstraint("drawn IN ('chosen', 'random')", name="drawn"),
        CheckConstraint("(drawn = 'chosen') = (gain IS NOT NULL AND stands_for IS NOT NULL)", name="gain"),
        CheckConstraint("position > 0", name="position"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"))
    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id"))
    uri: Mapped[str]
    status: Mapped[str]
    position: Mapped[int] = mapped_column(Integer)
    drawn: Mapped[str]
    gain: Mapped[float | None]
    stands_for: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()


class ReviewDecision(Base):
    """What a person said about a queued clip; the latest of a clip counts, and none is ever changed.

    `external_id` names the decision where it came from, so that none counts twice. `shown` is what the person
    saw, `came_from` an address or a file.
    """

    __tablename__ = "review_decisions"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        Index(None, "review_id", "id"),
        CheckConstraint("verdict IN ('label', 'none', 'skip')", name="verdict"),
        CheckConstraint("(verdict = 'label') = (label IS NOT NULL)", name="label"),
        CheckConstraint("source IN ('page', 'csv', 'label-studio')", name="source"),
        CheckConstraint(
            "char_length(label) BETWEEN 1 AND 200 AND char_length(note) <= 1000"
            " AND char_length(reviewer) BETWEEN 1 AND 100 AND char_length(external_id) BETWEEN 1 AND 200"
            " AND char_length(came_from) <= 1000 AND octet_length(shown::text) <= 16384",
            name="sizes",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("review_queue.id"))
    verdict: Mapped[str]
    label: Mapped[str | None]
    note: Mapped[str | None]
    reviewer: Mapped[str]
    source: Mapped[str]
    came_from: Mapped[str]
    shown: Mapped[dict[str, Any]]
    external_id: Mapped[str]
    written_by: Mapped[str] = mapped_column(server_default=text("SESSION_USER"))
    decided_at: Mapped[datetime] = _written_at()


class GeneratedAudio(Base):
    """Audio for a text or a noisy clip. Its work key is unique among audio that is not retracted.

    `sha256` is the digest of the bytes at `uri`. In context, these are the decoded codes; another method has
    no LLM and no codes.
    """

    __tablename__ = "generated_audio"
    __table_args__ = (
        Index(
            "uq_generated_audio_work_key",
            "work_key",
            unique=True,
            postgresql_where=text("retracted_by_run IS NULL"),
        ),
        Index(None, "content_sha256"),
        Index(None, "run_id"),
        _sha256_check("work_key"),
        _sha256_check("sha256"),
        CheckConstraint("num_nonnulls(text, content_sha256) = 1", name="asked"),
        CheckConstraint("duration > 0", name="duration"),
        CheckConstraint(
            "cardinality(semantic) > 0 AND cardinality(acoustic1) > 0"
            " AND cardinality(acoustic1) % cardinality(semantic) = 0 AND cardinality(acoustic2) > 0"
            " AND cardinality(acoustic2) % cardinality(acoustic1) = 0",
            name="lengths",
        ),
        CheckConstraint(
            "0 <= ALL (semantic) AND 0 <= ALL (acoustic1) AND 0 <= ALL (acoustic2)", name="codes"
        ),
        CheckConstraint(
            "CASE method WHEN 'in-context'"
            " THEN num_nulls(llm_id, semantic, acoustic1, acoustic2) = 0 AND denoiser_fingerprint IS NULL"
            " ELSE num_nonnulls(llm_id, semantic, acoustic1, acoustic2) = 0"
            " AND denoiser_fingerprint IS NOT NULL AND task = 'denoise' END",
            name="method",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    work_key: Mapped[bytes]
    task: Mapped[str]
    text: Mapped[str | None]
    content_sha256: Mapped[bytes | None] = mapped_column(ForeignKey("contents.sha256"))
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"))
    llm_id: Mapped[int | None] = mapped_column(ForeignKey("llms.id"))
    method: Mapped[str] = mapped_column(server_default="in-context")
    denoiser_fingerprint: Mapped[str | None]
    semantic: Mapped[list[int] | None] = mapped_column(SmallIntegers)
    acoustic1: Mapped[list[int] | None] = mapped_column(SmallIntegers)
    acoustic2: Mapped[list[int] | None] = mapped_column(SmallIntegers)
    duration: Mapped[float]
    uri: Mapped[str]
    sha256: Mapped[bytes]
    metrics: Mapped[dict[str, Any]]
    is_demonstration: Mapped[bool]
    provenance: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()
    retracted_by_run: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))


class DenoisingMeasure(Base):
    """How near to its clean clip a method comes on one pair of a library version; noisy is the clip itself.

    `fingerprint` is of all that decides the method's answers.
    """

    __tablename__ = "denoising_measures"
    __table_args__ = (
        UniqueConstraint(
            *("demonstration_set_id", "content_sha256", "method", "fingerprint"),
            name="uq_denoising_measures_pair",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    content_sha256: Mapped[bytes] = mapped_column(ForeignKey("contents.sha256"))
    method: Mapped[str]
    fingerprint: Mapped[str]
    stoi: Mapped[float | None] = mapped_column(Double)
    si_sdr: Mapped[float] = mapped_column(Double)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[datetime] = _written_at()


class Promotion(Base):
    """The models whose answers are the current ones of a task and library, even if others are newer."""

    __tablename__ = "promotions"

    task: Mapped[str] = mapped_column(primary_key=True)
    library: Mapped[str] = mapped_column(primary_key=True)
    demonstration_set_id: Mapped[int] = mapped_column(ForeignKey("demonstration_sets.id"))
    codec_id: Mapped[int] = mapped_column(ForeignKey("codecs.id"))
    llm_id: Mapped[int | None] = mapped_column(ForeignKey("llms.id"))
    promoted_at: Mapped[datetime] = _written_at()


class QuarantineRow(Base):
    """Why a stage could not use a clip. One open row per clip and stage; a resolved row stays as history."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index(
            "uq_quarantine_open",
            "clip_id",
            "stage",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(None, "clip_id"),
        CheckConstraint("attempts > 0", name="attempts"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    clip_id: Mapped[int] = mapped_column(ForeignKey("clips.id"))
    stage: Mapped[str]
    reason: Mapped[str]
    message: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    first_run: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    last_run: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    first_seen: Mapped[datetime] = _written_at()
    last_seen: Mapped[datetime] = _written_at()
    resolved_at: Mapped[datetime | None]


class ExportRow(Base):
    """An export by the key of its selection; it is incomplete while its files are written."""

    __tablename__ = "exports"
    __table_args__ = (
        _sha256_check("selection_key"),
        CheckConstraint("num_rows >= 0", name="num_rows"),
    )

    selection_key: Mapped[bytes] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    uri: Mapped[str]
    num_rows: Mapped[int] = mapped_column(BigInteger)
    sha256s: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = _written_at()
    completed_at: Mapped[datetime | None]


class Watch(Base):
    """Bounds of a place's nights, from `set_at` until a later row of the place."""

    __tablename__ = "watches"
    __table_args__ = (
        Index("ix_watches_place", "place", "id"),
        CheckConstraint(
            "max_quarantined BETWEEN 0 AND 1 AND max_uncertain BETWEEN 0 AND 1"
            " AND max_one_label BETWEEN 0 AND 1 AND least_agreement BETWEEN 0 AND 1"
            " AND least_usual BETWEEN 0 AND 1",
            name="shares",
        ),
        CheckConstraint("most_usual = 0 OR most_usual BETWEEN 1 AND 1000", name="most_usual"),
        CheckConstraint("max_unknown BETWEEN 0 AND 1", name="max_unknown"),
        CheckConstraint("keep_days BETWEEN 0 AND 36500", name="keep_days"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    place: Mapped[str]
    max_quarantined: Mapped[float]
    max_uncertain: Mapped[float]
    max_one_label: Mapped[float]
    least_agreement: Mapped[float]
    least_usual: Mapped[float]
    most_usual: Mapped[float]
    set_at: Mapped[datetime] = _written_at()
    max_unknown: Mapped[float] = mapped_column(server_default=text("1"))
    keep_days: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class Tombstone(Base):
    """All that stays of a forgotten content, uri or version of a clip: a hash by the installation's key.

    `key_check` tells that key from others. `counts` are the deleted rows of a content, by table. Without
    `completed_at` the forgetting was interrupted.
    """

    __tablename__ = "tombstones"
    __table_args__ = (
        _sha256_check("keyed_hash"),
        _sha256_check("key_check"),
        CheckConstraint("kind IN ('content', 'uri', 'version')", name="kind"),
    )

    keyed_hash: Mapped[bytes] = mapped_column(primary_key=True)
    kind: Mapped[str]
    key_check: Mapped[bytes]
    forgotten_by: Mapped[str]
    begun_at: Mapped[datetime] = _written_at()
    completed_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
