"""Upgrades of codec or LLM: both model sets answer, one step switches between them, another prunes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from sqlalchemy.orm import Session

from db.engine import make_engine, session_scope
from db.libraries import use_library
from db.model_registry import find_codec
from db.promotions import (
    AnswerPair,
    ModelSet,
    answer_pairs,
    describe_model_set,
    has_standing_answers,
    latest_model_set,
    promote,
    promoted_codecs,
    promoted_model_set,
)
from db.tokens import prune_tokens
from flows.pipeline.files.lake import refresh_lake
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import TASK
from flows.pipeline.nights.jobs import BatchRunner, label_selection, run_once, tokenize_for
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.database import owner_url
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical


@dataclass(frozen=True)
class Comparison:
    """The answers of the model set in use and of the new one, for clips that both answered."""

    old: str
    new: str
    answers: Sequence[AnswerPair]

    @property
    def changed(self) -> list[AnswerPair]:
        return [clip for clip in self.answers if clip.old_label != clip.new_label]


def upgrade(
    runtime: Runtime,
    prefix: str,
    request: LabelRequest,
    run_batches: BatchRunner,
    *,
    flow_run_id: str | None = None,
) -> tuple[Comparison | None, OpenRun]:
    """Answer the listed clips of a place with the models of the settings, without changing current answers.

    Demonstrations are tokenized first, then the clips. If no model set is promoted, the one in use is, so
    that nothing switches by itself. The comparison is None if no other model set answered for the library.
    """
    place = canonical(prefix)
    recorded = recorded_run(
        runtime,
        "upgrade-models",
        place,
        asdict(request),
        libraries=("library",),
        flow_run_id=flow_run_id,
    )
    with recorded as run:
        labeling = Labeling(runtime, replace(request, library=run.parameters["library"]))
        old = _keep_current(runtime, labeling)
        labeling.setup.prepare(run.claim)
        require_clips(runtime, place, place)
        tokenize_for(labeling, place, place, run, run_batches)
        label_selection(labeling, place, run, run_batches)
        compared = _compare(runtime, labeling, place, old) if old else None
        if compared:
            run.count("compare", Counts(answered=len(compared.answers), changed=len(compared.changed)))
    return compared, run


def model_set(labeling: Labeling) -> ModelSet:
    """Return the library version and the models of the settings."""
    return labeling.setup.answering.models


def _keep_current(runtime: Runtime, labeling: Labeling) -> ModelSet | None:
    """Return the model set whose answers are current, and promote it if it was not yet."""
    new, name = model_set(labeling), labeling.setup.library.name
    with session_scope(runtime.engine) as session:
        current = promoted_model_set(session, TASK, name)
        if current == new:
            raise ValueError(
                f"{describe_model_set(session, new)} is in use already: set WORDWAVE_CODEC or WORDWAVE_LLM"
            )
        if current is None and (current := latest_model_set(session, TASK, name, besides=new)):
            promote(session, TASK, current)
    return current


def _compare(runtime: Runtime, labeling: Labeling, place: str, old: ModelSet) -> Comparison:
    new = model_set(labeling)
    with session_scope(runtime.engine) as session:
        answers = answer_pairs(session, TASK, place, old, new)
        return Comparison(describe_model_set(session, old), describe_model_set(session, new), answers)


@dataclass(frozen=True)
class Switch:
    """The model sets whose answers were and are the current ones."""

    before: str
    now: str


def promote_models(
    runtime: Runtime, library: str, *, flow_run_id: str | None = None
) -> tuple[Switch, OpenRun]:
    """Make the answers of a library version by the models of the settings the current ones.

    The version is put into use too. Raises ValueError if there is no such answer: analysts would see none.
    """
    labeling = Labeling(runtime, LabelRequest(library))
    name = f"{labeling.setup.library.name}@{labeling.setup.library.version}"
    recorded = recorded_run(runtime, "promote-models", name, {"library": name}, flow_run_id=flow_run_id)
    with recorded as run:
        with run_session(runtime, run.claim) as session:
            switch = _switch(session, labeling)
        run.count("promote", Counts(changed=switch.before != switch.now))
        run_once(run, "lake", partial(refresh_lake, runtime, run.id, labeling.setup.library.name))
    return switch, run


def _switch(session: Session, labeling: Labeling) -> Switch:
    new = model_set(labeling)
    if not has_standing_answers(session, TASK, new):
        raise ValueError(f"{describe_model_set(session, new)} has no answers yet: run upgrade-models first")
    old = promoted_model_set(session, TASK, labeling.setup.library.name)
    promote(session, TASK, new)
    use_library(session, labeling.setup.library.name, labeling.setup.library.version)
    return Switch(
        describe_model_set(session, old) if old else "the latest answers", describe_model_set(session, new)
    )


def prune(runtime: Runtime, codec: str) -> OpenRun:
    """Delete the codes and latents of a codec, given by the start of its fingerprint. Answers stay.

    This connects as the database's owner, since the flows' role cannot delete. Raises ValueError for the
    codec of the settings, for one whose answers are promoted, and unless exactly one codec matches.
    """
    with recorded_run(runtime, "prune-tokens", codec, {"codec": codec}) as run:
        codec_id = _unused_codec(runtime, codec)
        owner = make_engine(owner_url(runtime.settings))
        try:
            with session_scope(owner) as session:
                run.count("prune", Counts(contents=prune_tokens(session, codec_id)))
        finally:
            owner.dispose()
    return run


def _unused_codec(runtime: Runtime, codec: str) -> int:
    with session_scope(runtime.engine) as session:
        codec_id = find_codec(session, codec)
        if codec_id in promoted_codecs(session):
            raise ValueError(f"answers by codec {codec} are promoted: promote the new models first")
    if codec_id == runtime.codec_id:
        raise ValueError(f"codec {codec} is the one in use: let WORDWAVE_CODEC name the new one first")
    return codec_id
