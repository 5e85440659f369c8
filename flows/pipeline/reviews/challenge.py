"""Champion and challenger: the same clips answered by two sides, and the difference; nothing is put into use.

A side is a library version, with a labeler and the models of the settings; the champion is what answers now,
unless another version is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.libraries import LibraryVersion
from db.promotions import ModelSet, describe_model_set, latest_model_set, promoted_model_set
from db.reviews.decisions import decided_clips
from flows.pipeline.labeling.library_review import name_of, named_library, nightly_request
from flows.pipeline.labeling.request import DEFAULT, LabelRequest
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.reviews.again import Outlook, outlook
from flows.pipeline.reviews.answers import Answers, computed_by, current_of
from flows.pipeline.reviews.canaries import canaries_of
from flows.pipeline.reviews.learning import NIGHTS, questions_about
from flows.pipeline.reviews.scoring import Scores, Truth, score
from flows.pipeline.runs.run import OpenRun, recorded_run
from flows.pipeline.runtime.resources import Runtime

CHALLENGE = "compare-library"
NO_MODELS = ModelSet(0, 0, None)


@dataclass(frozen=True)
class Contest:
    """Two sides by name, how they scored, where they differ, and how the challenger is promoted."""

    champion: str
    challenger: str
    scores: Scores
    outlook: Outlook
    promoted_by: str

    @property
    def agreement(self) -> float | None:
        """The share of compared clips that both sides call the same."""
        ahead = self.outlook
        return 1 - len(ahead.changes) / ahead.compared if ahead.compared else None


def challenge(
    runtime: Runtime,
    library: str,
    champion: str = "",
    labeler: str = DEFAULT,
    nights: int = NIGHTS,
    *,
    flow_run_id: str | None = None,
) -> tuple[Contest, OpenRun]:
    """Answer the clips of the last nights by a challenger, and compare and score it with the champion.

    `labeler` is the challenger's, the chosen one by default; its models are those of the settings. Random
    reviews and canaries that either version demonstrates are no questions. Raises ValueError for two sides
    that are the same, or of two libraries.
    """
    new = named_library(runtime, library)
    old = named_library(runtime, champion or new.name)
    _require_two_sides(new, old, champion, labeler)
    parameters = {
        "library": name_of(new),
        "before": name_of(old),
        "champion": champion,
        "labeler": labeler,
        "nights": nights,
        "models": _models_of(runtime),
    }
    with recorded_run(runtime, CHALLENGE, new.name, parameters, flow_run_id=flow_run_id) as run:
        challenger = LabelingSetup(runtime, _request(runtime, new, labeler))
        challenger.prepare(run.claim)
        if champion:
            known = LabelingSetup(runtime, _request(runtime, old, DEFAULT))
            known.prepare(run.claim)
            before, name = computed_by(known), _name(runtime, known)
        else:
            before, name = current_of(runtime, new.name), _current_name(runtime, old, challenger)
        after = computed_by(challenger)
        questions = _questions(runtime, old, new, before)
        contest = Contest(
            name,
            _name(runtime, challenger),
            score(questions, before, after),
            outlook(runtime, new.name, nights, before, after),
            _promotion(runtime, challenger, labeler),
        )
        run.summary = summary_of(contest)
    return contest, run


def _models_of(runtime: Runtime) -> str:
    """Return the models of the settings, so that a run with others is another run."""
    llm = runtime.llm
    return f"{runtime.codec_id} {llm.fingerprint if llm else 'none'}"


def _request(runtime: Runtime, version: LibraryVersion, labeler: str) -> LabelRequest:
    request = nightly_request(runtime, version)[0]
    return request if labeler == DEFAULT else replace(request, labeler=labeler)


def _require_two_sides(new: LibraryVersion, old: LibraryVersion, champion: str, labeler: str) -> None:
    if new.name != old.name:
        raise ValueError(f"{name_of(new)} and {name_of(old)} are of two libraries: name two versions of one")
    if champion and new.version == old.version and labeler == DEFAULT:
        raise ValueError(f"{name_of(new)} is on both sides: name another version, or a labeler")


def _current_name(runtime: Runtime, used: LibraryVersion, challenger: LabelingSetup) -> str:
    """Return what answers now. Raises ValueError if the challenger is that."""
    with session_scope(runtime.engine) as session:
        current = _current_models(session, used.name)
        if current is None:
            return f"{name_of(used)}, which has answered nothing yet"
        name = describe_model_set(session, current)
    is_same = current.demonstration_set_id == used.id == challenger.library.id
    if (
        is_same
        and _has_models(challenger, current)
        and challenger.request.labeler == nightly_request(runtime, used)[0].labeler
    ):
        raise ValueError(
            f"{name_of(used)} is in use: name another version to compare it with, a labeler (--labeler), or "
            "other models (WORDWAVE_LLM)"
        )
    return f"the answers now: {name}"


def _current_models(session: Session, library: str) -> ModelSet | None:
    promoted = promoted_model_set(session, TASK, library)
    return promoted or latest_model_set(session, TASK, library, besides=NO_MODELS)


def _has_models(challenger: LabelingSetup, current: ModelSet) -> bool:
    """Return whether a side answers by these models, or would if its labeler asked the LLM."""
    models, llm = challenger.answering.models, challenger.answering.llm
    asked = replace(models, llm_id=llm.id if llm else None)
    return replace(current, demonstration_set_id=models.demonstration_set_id) in (models, asked)


def _name(runtime: Runtime, setup: LabelingSetup) -> str:
    with session_scope(runtime.engine) as session:
        models = describe_model_set(session, setup.answering.models)
    return f"{models}, by {setup.answering.method}"


def _questions(
    runtime: Runtime, old: LibraryVersion, new: LibraryVersion, before: Answers
) -> dict[str, Truth]:
    """Return the questions that the champion has an answer to: stored ones may lack some."""
    with session_scope(runtime.engine) as session:
        decided = decided_clips(session, new.name)
    canaries = {row.content_sha256: row.label_or_text for row in canaries_of(runtime, old)}
    found = questions_about(old, new, decided, canaries)
    answered = before({content for truth in found.values() for content in truth})
    return {
        kind: {content: label for content, label in truth.items() if content in answered}
        for kind, truth in found.items()
    }


def _promotion(runtime: Runtime, challenger: LabelingSetup, labeler: str) -> str:
    """Return the steps that put the challenger into use, in their order."""
    name, used = name_of(challenger.library), named_library(runtime, challenger.library.name)
    with session_scope(runtime.engine) as session:
        current = _current_models(session, used.name)
    answering = {used.id, current.demonstration_set_id} if current else {used.id}
    steps = {
        f"wordwave choose-labeler {name} '{labeler}'": labeler != DEFAULT,
        f"wordwave library promote {name}": answering != {challenger.library.id},
        f"the flow upgrade-models on each place, then wordwave promote {name}": (
            current is not None and not _has_models(challenger, current)
        ),
    }
    needed = [step for step, is_needed in steps.items() if is_needed]
    return ", then ".join(needed) or f"nothing, {name} is in use"


def summary_of(contest: Contest) -> Mapping[str, Any]:
    """Return the contest as its run keeps it, for pages and for the view `comparisons`."""
    scores = contest.scores
    return {
        "champion": contest.champion,
        "challenger": contest.challenger,
        "promoted_by": contest.promoted_by,
        **contest.outlook.as_json(),
        "scores": {kind: asdict(gain) for kind, gain in scores.parts.items()},
        "together": asdict(scores.together),
    }
