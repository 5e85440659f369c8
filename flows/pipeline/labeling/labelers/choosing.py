"""The choice of a labeler as people read and change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from db.engine import session_scope
from db.labeler_choices import StoredChoice, add_choice, current_choice
from flows.pipeline.files.lake import refresh_lake
from flows.pipeline.labeling.labelers.answering import (
    PLAIN,
    choice_of,
    compared_embeddings,
    named_choice,
)
from flows.pipeline.labeling.request import AUTO, LabelRequest
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from core.in_context.choosing.choice import Candidate

COLUMNS = ("labeler", "right", "95 %", "off by", "lead", "at least", "temperature")
"""Of the table of labelers, all but the note."""

KIND = "choose-labeler"


def choose_labeler(
    runtime: Runtime, library: str, name: str, *, flow_run_id: str | None = None
) -> tuple[StoredChoice, OpenRun]:
    """Choose the labeler of a library version from now on, by its name or, by `auto`, by comparing all.

    Stored answers stay; those of the chosen labeler become the current ones. Raises PromptError for a name
    that is no labeler's.
    """
    setup = LabelingSetup(runtime, LabelRequest(library, labeler=AUTO))
    version = f"{setup.library.name}@{setup.library.version}"
    parameters = {"library": version, "labeler": name}
    with recorded_run(runtime, KIND, version, parameters, flow_run_id=flow_run_id) as run:
        choice = _choice(setup, name, run)
        with run_session(runtime, run.claim) as session:
            add_choice(session, setup.answering.models, choice, run.id if choice.chosen_by == "run" else None)
        refresh_lake(runtime, run.id, setup.library.name)
    return choice, run


def _choice(setup: LabelingSetup, name: str, run: OpenRun) -> StoredChoice:
    """Return the choice to store. Labelers are compared unless they were, or nothing is to be calibrated."""
    if name == AUTO:
        return choice_of(setup.measure(run.claim), "run")
    compared_embeddings(name, setup.runtime.known_embeddings)
    before = setup.answering.choice
    measured = before.measured if before else None
    if measured is None and name not in PLAIN:
        measured = setup.measure(run.claim).as_json()
    return named_choice(name, measured, f"a person chose {name}", "person")


def stored_choice(runtime: Runtime, library: str) -> StoredChoice | None:
    """Return the choice for a library version and the models of the settings, if there is one."""
    setup = LabelingSetup(runtime, LabelRequest(library))
    with session_scope(runtime.engine) as session:
        return current_choice(session, setup.answering.models)


def answering_sentence(setup: LabelingSetup) -> str:
    """Return which labeler answers, and why."""
    answering = setup.answering
    if not answering.is_automatic:
        method = answering.method
        named = "the request names it" if setup.request.labeler == method else "WORDWAVE_LLM decides"
        return f"{method} answers: {named}"
    if answering.choice is None:
        return "the first run that labels by it chooses a labeler"
    return choice_sentence(answering.choice)


def choice_sentence(choice: StoredChoice) -> str:
    """Return who chose which labeler, and why."""
    reason = choice.reason.removeprefix(f"{choice.labeler}: ")
    return f"{choice.labeler} answers: {reason}"


def choice_rows(choice: StoredChoice) -> Iterator[dict[str, str]]:
    """Yield a row for each labeler that was compared, the best first."""
    for one in _candidates(choice):
        yield {
            "labeler": one.name,
            "right": _percent(one.accuracy),
            "95 %": f"{100 * one.interval[0]:.0f} to {100 * one.interval[1]:.0f}" if one.interval else "",
            "off by": _percent(one.calibration_error),
            "lead": f"{100 * one.lead:+.1f}",
            "at least": f"{100 * one.bound:+.1f}",
            "temperature": f"{one.calibration.temperature:.2f}",
            "note": one.note,
        }


def _candidates(choice: StoredChoice) -> Sequence[Candidate]:
    from core.in_context.choosing.choice import Choice

    return Choice.from_json(choice.measured).candidates if choice.measured else ()


def choice_lines(choice: StoredChoice) -> Iterator[str]:
    """Yield the choice as a sentence and a table."""
    yield choice_sentence(choice)
    if choice.measured:
        yield from ("", *table_lines(choice))


def table_lines(choice: StoredChoice) -> Iterator[str]:
    """Yield the table of labelers that a choice was made from."""
    rows = list(choice_rows(choice))
    width = max(len(row["labeler"]) for row in rows)
    yield f"{'labeler':<{width}}" + "".join(f"{name:>12}" for name in COLUMNS[1:])
    for row in rows:
        numbers = "".join(f"{row[name]:>12}" for name in COLUMNS[1:])
        mark = "answers" if row["labeler"] == choice.labeler else ""
        yield f"{row['labeler']:<{width}}{numbers}  {', '.join(filter(None, (mark, row['note'])))}".rstrip()
    yield ""
    yield f"right: of {max(one.answers for one in _candidates(choice))} left-out demonstrations"
    yield "lead: points ahead of the mixture, as expected from these and the dev sets; at least: what decides"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
