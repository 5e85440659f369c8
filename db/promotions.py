"""Promotions: the library version, codec and LLM whose answers are the current ones until the next
promotion.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from db.clips import Selection, in_selection
from db.models import Clip, Codec, DemonstrationSet, LabelerChoice, Llm, PredictionRow, Promotion


@dataclass(frozen=True)
class ModelSet:
    """The source of answers; `llm_id` is None for a labeler without a language model."""

    demonstration_set_id: int
    codec_id: int
    llm_id: int | None


@dataclass(frozen=True)
class AnswerPair:
    """The answers of two model sets for one clip."""

    uri: str
    old_label: str
    new_label: str
    old_margin: float
    new_margin: float


def promote(session: Session, task: str, model_set: ModelSet) -> None:
    """Make the answers of this model set the current ones of the task and library."""
    whose, library = asdict(model_set), DemonstrationSet.name
    named = select(library).where(DemonstrationSet.id == model_set.demonstration_set_id)
    session.execute(
        insert(Promotion)
        .values(task=task, library=named.scalar_subquery(), **whose)
        .on_conflict_do_update(
            index_elements=[Promotion.task, Promotion.library],
            set_=whose | {"promoted_at": func.now()},
        )
    )


def promoted_model_set(session: Session, task: str, library: str) -> ModelSet | None:
    """Return the model set promoted for a library, if any."""
    stored = Promotion
    row = session.execute(
        select(stored.demonstration_set_id, stored.codec_id, stored.llm_id).where(
            stored.task == task, stored.library == library
        )
    ).one_or_none()
    return None if row is None else ModelSet(*row)


def promoted_version(session: Session, task: str, library: str) -> int | None:
    """Return the library version whose answers are promoted, if any."""
    return session.scalar(
        select(DemonstrationSet.version)
        .join(Promotion, Promotion.demonstration_set_id == DemonstrationSet.id)
        .where(Promotion.task == task, Promotion.library == library)
    )


def latest_model_set(session: Session, task: str, library: str, besides: ModelSet) -> ModelSet | None:
    """Return the model set of the newest answer of a library that is not retracted, except `besides`."""
    stored = PredictionRow
    row = session.execute(
        select(stored.demonstration_set_id, stored.codec_id, stored.llm_id)
        .join(DemonstrationSet, DemonstrationSet.id == stored.demonstration_set_id)
        .where(DemonstrationSet.name == library, _standing(task), ~_of(besides))
        .order_by(stored.created_at.desc(), stored.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else ModelSet(*row)


def has_standing_answers(session: Session, task: str, model_set: ModelSet) -> bool:
    """Return whether a model set has an answer that is not retracted."""
    answer = select(PredictionRow.id).where(_standing(task), _of(model_set)).limit(1)
    return session.scalar(answer) is not None


def answer_pairs(
    session: Session, task: str, selection: Selection, old: ModelSet, new: ModelSet
) -> list[AnswerPair]:
    """Return the latest answers of both model sets for the selected current clips with both, in uri order."""
    before, after = (_latest(task, model_set).subquery() for model_set in (old, new))
    rows = session.execute(
        select(Clip.uri, before.c.label, after.c.label, before.c.margin, after.c.margin)
        .join(before, before.c.content_sha256 == Clip.content_sha256)
        .join(after, after.c.content_sha256 == Clip.content_sha256)
        .where(in_selection(selection))
        .order_by(Clip.uri)
    )
    return [AnswerPair(*row) for row in rows]


def describe_model_set(session: Session, model_set: ModelSet) -> str:
    """Return a text such as sounds@2, codec mini-codec 1f0c2a9b, no LLM."""
    library = session.get_one(DemonstrationSet, model_set.demonstration_set_id)
    codec = session.get_one(Codec, model_set.codec_id)
    llm = None if model_set.llm_id is None else session.get_one(Llm, model_set.llm_id)
    name = f"LLM {llm.name} {llm.fingerprint[:8]}" if llm else "no LLM"
    return f"{library.name}@{library.version}, codec {codec.name} {codec.fingerprint[:8]}, {name}"


def promoted_codecs(session: Session) -> Sequence[int]:
    """Return the codecs whose answers are the current ones of some library."""
    return session.scalars(select(Promotion.codec_id).distinct()).all()


def _latest(task: str, model_set: ModelSet) -> Select[tuple[bytes, str, float]]:
    """Return a query for the answers by the chosen labeler, else the latest."""
    stored = PredictionRow
    order = _is_chosen(model_set).desc(), stored.created_at.desc(), stored.id.desc()
    return (
        select(stored.content_sha256, stored.label, stored.margin)
        .where(_standing(task), _of(model_set))
        .distinct(stored.content_sha256)
        .order_by(stored.content_sha256, *order)
    )


def _standing(task: str) -> ColumnElement[bool]:
    return (PredictionRow.task == task) & PredictionRow.retracted_by_run.is_(None)


def _of(model_set: ModelSet) -> ColumnElement[bool]:
    """Return the condition for answers of a model set: those by its chosen labeler may ask no LLM."""
    by_llm = PredictionRow.llm_id.is_not_distinct_from(model_set.llm_id)
    return (
        (PredictionRow.demonstration_set_id == model_set.demonstration_set_id)
        & (PredictionRow.codec_id == model_set.codec_id)
        & (by_llm | (PredictionRow.llm_id.is_(None) & _is_chosen(model_set)))
    )


def _is_chosen(model_set: ModelSet) -> ColumnElement[bool]:
    choice = aliased(LabelerChoice)
    latest = (
        select(func.max(choice.id))
        .where(
            choice.demonstration_set_id == model_set.demonstration_set_id,
            choice.codec_id == model_set.codec_id,
            choice.llm_id.is_not_distinct_from(model_set.llm_id),
        )
        .scalar_subquery()
    )
    return exists().where(
        LabelerChoice.id == latest,
        LabelerChoice.labeler == PredictionRow.labeler,
        LabelerChoice.calibration.is_not_distinct_from(PredictionRow.calibration),
    )
