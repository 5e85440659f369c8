"""From decisions to the next version of a library: proposed with its scores, promoted, and answering.

The next version is made from the one in use and the decisions since that was made, and changes nothing by
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.libraries import (
    LibraryVersion,
    import_library,
    previous_version_in_use,
    use_library,
    version_in_use,
)
from db.promotions import ModelSet, promote, promoted_model_set
from db.reviews.decisions import DecidedClip, decided_clips, last_learned
from db.runs import last_parameters
from flows.pipeline.files.lake import refresh_lake
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.library_review import name_of, named_library, nightly_request
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.libraries.by_label import multi_label_of, refuse_multi_label
from flows.pipeline.nights.jobs import BatchRunner, run_once
from flows.pipeline.reviews.again import Outlook, answer_again, outlook
from flows.pipeline.reviews.answers import computed_by, current_of
from flows.pipeline.reviews.canaries import canaries_of
from flows.pipeline.reviews.lessons import Lesson, lesson_of
from flows.pipeline.reviews.scoring import CANARIES, RANDOM, Scores, Truth, score, score_left_out
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime

LEARN, PROMOTE = "learn-library", "promote-library"
NIGHTS = 7


class NothingToLearn(ValueError):
    """No decision teaches a library anything."""


@dataclass(frozen=True)
class Proposal:
    """The next version of a library: what it learned, how it scored, and what it would change.

    decided: the clips that people decided since the version in use was made.
    """

    new: LibraryVersion
    lesson: Lesson
    decided: int
    scores: Scores
    outlook: Outlook

    @property
    def old(self) -> LibraryVersion:
        """The version in use."""
        return self.lesson.old


@dataclass(frozen=True)
class AppliedProposal:
    """A version that was put into use, and the current labels of the last nights that it moved."""

    before: str
    now: str
    moved: int


def propose(
    runtime: Runtime, library: str, nights: int = NIGHTS, *, flow_run_id: str | None = None
) -> tuple[Proposal, OpenRun]:
    """Make the next version of a library, score it, and compute what it would change.

    Nothing is put into use. Raises NothingToLearn if no decision teaches the version in use anything.
    """
    old = named_library(runtime, library)
    refuse_multi_label(old)
    if whole := multi_label_of(old.name):
        raise ValueError(f"{old.name} is made of the manifest of {whole}: add the decided clips to its rows")
    with session_scope(runtime.engine) as session:
        decided = decided_clips(session, old.name)
        learned = last_learned(session, old.id)
    canaries = {row.content_sha256: row.label_or_text for row in canaries_of(runtime, old)}
    new_decisions = [one for one in decided if one.decision > learned]
    lesson = lesson_of(runtime, old, new_decisions, held_out=canaries.keys())
    if lesson.is_empty:
        raise NothingToLearn(_why_nothing(old, new_decisions))
    parameters = {
        "library": name_of(old),
        "decisions": max(one.decision for one in decided),
        "nights": nights,
    }
    with recorded_run(runtime, LEARN, old.name, parameters, flow_run_id=flow_run_id) as run:
        with run_session(runtime, run.claim) as session:
            new = import_library(session, old.name, TASK, None, lesson.demonstrations)
        before, after = (LabelingSetup(runtime, nightly_request(runtime, one)[0]) for one in (old, new))
        for setup in (before, after):
            setup.prepare(run.claim)
        answers = computed_by(before), computed_by(after)
        left_out = score_left_out(lesson.added, before, after)
        scores = score(questions_about(old, new, decided, canaries), *answers, left_out)
        ahead = outlook(runtime, old.name, nights, current_of(runtime, old.name), answers[1])
        proposal = Proposal(new, lesson, len(new_decisions), scores, ahead)
        run.count("learn", Counts(added=len(lesson.added), dropped=len(lesson.dropped)))
        run.summary = summary_of(proposal)
    return proposal, run


def promote_library(
    runtime: Runtime,
    library: str,
    run_batches: BatchRunner,
    nights: int = NIGHTS,
    *,
    flow_run_id: str | None = None,
) -> tuple[AppliedProposal, OpenRun]:
    """Put a version into use and answer the last nights of its places by it; older answers stand.

    The run can be undone: then the version before is in use again, and its answers are the current ones.
    """
    new = named_library(runtime, library)
    with session_scope(runtime.engine) as session:
        parameters = {"library": name_of(new), **_state_before(session, new), "nights": nights}
    with recorded_run(runtime, PROMOTE, new.name, parameters, flow_run_id=flow_run_id) as run:
        labeling = Labeling(runtime, nightly_request(runtime, new)[0])
        labeling.setup.prepare(run.claim)
        with run_session(runtime, run.claim) as session:
            use_library(session, new.name, new.version)
            if parameters["promoted_before"]:
                promote(session, TASK, labeling.setup.answering.models)
        moved = answer_again(runtime, labeling, nights, run, run_batches)
        run_once(run, "lake", partial(refresh_lake, runtime, run.id, new.name))
        promotion = AppliedProposal(run.parameters["before"], name_of(new), moved)
        run.summary = asdict(promotion)
    return promotion, run


def _state_before(session: Session, new: LibraryVersion) -> dict[str, Any]:
    """Return the version in use and the promoted answers that an undo of a promotion brings back.

    If a run that stopped half-way put the version into use already, they are those that it found.
    """
    used, kept = version_in_use(session, new.name), promoted_model_set(session, TASK, new.name)
    is_promoted = kept is not None and kept.demonstration_set_id == new.id
    if used == new.version and is_promoted and (found := last_parameters(session, PROMOTE, name_of(new))):
        return {name: found[name] for name in ("before", "promoted_before")}
    old = previous_version_in_use(session, new) if used == new.version else None
    return {
        "before": f"{new.name}@{old.version if old else used}",
        "promoted_before": asdict(kept) if kept else None,
    }


def put_back(runtime: Runtime, promotion: Mapping[str, Any], run: OpenRun, *, again: bool) -> None:
    """Put the version before a promotion into use, or with `again` the promoted one; given its parameters.

    If a third version is in use by now, it stays.
    """
    leaves, comes = (promotion[name] for name in ("before", "library")[:: 1 if again else -1])
    version = named_library(runtime, comes)
    with run_session(runtime, run.claim) as session:
        if f"{version.name}@{version_in_use(session, version.name)}" != leaves:
            return
        use_library(session, version.name, version.version)
        if kept := promotion["promoted_before"]:
            models = ModelSet(**kept)
            promote(session, TASK, _of_version(models, version) if again else models)


def _of_version(models: ModelSet, version: LibraryVersion) -> ModelSet:
    return ModelSet(version.id, models.codec_id, models.llm_id)


def questions_about(
    old: LibraryVersion, new: LibraryVersion, decided: Sequence[DecidedClip], canaries: Truth
) -> dict[str, Truth]:
    """Return the labels of random reviews and canaries that neither version demonstrates."""
    shown = {row.content_sha256 for version in (old, new) for row in version.demonstrations}
    random = {one.content_sha256: one.label for one in decided if one.is_random and one.label is not None}
    return {
        kind: {content: label for content, label in truth.items() if content not in shown}
        for kind, truth in ((RANDOM, random), (CANARIES, canaries))
    }


def _why_nothing(library: LibraryVersion, decided: list[DecidedClip]) -> str:
    if not decided:
        return (
            f"nobody has decided about a clip of {library.name} since {name_of(library)} was made: "
            f"wordwave review {library.name}"
        )
    measured = sum(one.is_random for one in decided)
    return (
        f"the {len(decided)} decided clips teach {name_of(library)} nothing: {measured} were drawn at random "
        "and only measure, the others are its demonstrations already, or none of its labels"
    )


def summary_of(proposal: Proposal) -> dict[str, Any]:
    """Return the proposal as its run keeps it, for pages and for the views `lessons` and `comparisons`."""
    lesson, scores = proposal.lesson, proposal.scores
    return {
        "from": name_of(proposal.old),
        "to": name_of(proposal.new),
        "decided": proposal.decided,
        "added": len(lesson.added),
        "dropped": len(lesson.dropped),
        "contradictions": len(lesson.contradictions),
        "disputed": len(lesson.disputed),
        "suspects": [one.demonstration.uri for one in lesson.suspects],
        "scores": {kind: asdict(gain) for kind, gain in scores.parts.items()},
        "together": asdict(scores.together),
        "is_better": scores.is_better,
        "champion": f"{name_of(proposal.old)}, which was in use",
        "challenger": f"{name_of(proposal.new)}, which learned from reviews",
        "promoted_by": f"wordwave library promote {name_of(proposal.new)}",
        **proposal.outlook.as_json(),
    }
