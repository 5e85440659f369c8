"""Flows that change which models and labelers answer: the new ones answer first, then they are chosen."""

from collections.abc import Sequence

from prefect.runtime import flow_run

from flows.artifacts.markdown import cell, escape
from flows.artifacts.pages import publish_page, publish_run
from flows.artifacts.tables import changed_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.approval import wait_for_approval
from flows.flow_runs.end import completed, completed_with_counts
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import run_options
from flows.flow_runs.states import with_named_failures
from flows.forms import (
    ChallengingLabeler,
    Champion,
    ChosenLabeler,
    Folder,
    LearnedLibrary,
    LibraryName,
    NightsAgain,
    PromoteRule,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.labelers.choosing import choice_rows, choice_sentence
from flows.pipeline.labeling.labelers.choosing import choose_labeler as choose
from flows.pipeline.labeling.library_review import name_of
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.maintenance.upgrade import promote_models as promote
from flows.pipeline.maintenance.upgrade import upgrade
from flows.pipeline.reviews.again import Outlook
from flows.pipeline.reviews.challenge import challenge
from flows.pipeline.reviews.learning import promote_library, propose
from flows.pipeline.reviews.report import comparison_page, contest_lines, morning_line, proposal_lines
from flows.pipeline.runtime.resources import shared_runtime


@flow(
    name="upgrade-models",
    **run_options("upgrade {prefix} by {library}"),
    description="Tokenize and label a place with the models of the settings; current answers stay.",
    task_runner=batch_threads(),
)
@with_named_failures
def upgrade_models(
    prefix: Folder,
    request: LabelRequest,
) -> dict[str, str | int]:
    """Label with the new models, and show the clips whose label would change."""
    compared, run = upgrade(shared_runtime(Settings()), prefix, request, in_tasks, flow_run_id=flow_run.id)
    title = f"{prefix}: {compared.old} and {compared.new}" if compared else prefix
    publish_run("upgrade-models", title, run, changed_rows(compared.changed if compared else []))
    return completed_with_counts({"run": str(run.id), **run.counts}, run.counts)


@flow(
    name="promote-models",
    **run_options("promote {library}"),
    description="Make the answers of a library version by the models of the settings the current ones.",
)
def promote_models(library: LibraryName) -> dict[str, str]:
    """Switch to the answers of these models. Run it with the old models set to switch back."""
    switch, run = promote(shared_runtime(Settings()), library, flow_run_id=flow_run.id)
    publish_run(
        "promote-models", switch.now, run, [{name: cell(models) for name, models in vars(switch).items()}]
    )
    return completed({"run": str(run.id), **vars(switch)}, f"in use: {switch.now}")


@flow(
    name="choose-labeler",
    **run_options("choose labeler of {library}"),
    description="Choose the labeler that answers for a library version. Stored answers stay.",
)
def choose_labeler(library: LibraryName, labeler: ChosenLabeler = "auto") -> dict[str, str]:
    """Choose a labeler. Its stored answers become the current ones; nights compute what is missing."""
    choice, run = choose(shared_runtime(Settings()), library, labeler, flow_run_id=flow_run.id)
    rows = [{name: cell(value) for name, value in row.items()} for row in choice_rows(choice)]
    publish_run("choose-labeler", choice_sentence(choice), run, rows)
    return completed({"run": str(run.id), "labeler": choice.labeler}, choice_sentence(choice))


@flow(
    name="learn-library",
    **run_options("learn {library}"),
    description="Make the next version of a library from what people decided, and use it if it is better.",
    task_runner=batch_threads(),
)
@with_named_failures
def learn_library(
    library: LearnedLibrary, promote: PromoteRule = "auto", nights: NightsAgain = 7
) -> dict[str, str | int | bool]:
    """Score the next version against the one in use, list what it would change, and put it into use."""
    runtime = shared_runtime(Settings())
    proposal, run = propose(runtime, library, nights, flow_run_id=flow_run.id)
    name, promotion = name_of(proposal.new), None
    _show("learn-library", name, [*proposal_lines(proposal)], proposal.outlook)
    if promote == "ask" or (promote == "auto" and not proposal.scores.is_better):
        wait_for_approval()
    if promote != "never":
        promotion, run = promote_library(runtime, name, in_tasks, nights, flow_run_id=flow_run.id)
    line = morning_line(proposal, promotion)
    _show("learn-library", name, [line, *proposal_lines(proposal)], proposal.outlook)
    promoted = promotion is not None
    return completed({"run": str(run.id), "version": proposal.new.version, "promoted": promoted}, line)


@flow(
    name="compare-library",
    **run_options("compare {library}"),
    description="Answer the last nights by another version, labeler or model, and show what differs.",
    task_runner=batch_threads(),
)
@with_named_failures
def compare_library(
    library: LibraryName,
    champion: Champion = "",
    labeler: ChallengingLabeler = "default",
    nights: NightsAgain = 7,
) -> dict[str, str | int | float | None]:
    """Compare a challenger with what answers now, or with another version. Nothing is put into use."""
    runtime = shared_runtime(Settings())
    contest, run = challenge(runtime, library, champion, labeler, nights, flow_run_id=flow_run.id)
    lines = [*contest_lines(contest), comparison_page(runtime.settings.explore_url, run.id)]
    _show("compare-library", contest.challenger, lines, contest.outlook)
    changed = len(contest.outlook.changes)
    line = f"{changed} of {contest.outlook.compared} compared clips would get another label"
    return completed({"run": str(run.id), "changed": changed, "agreement": contest.agreement}, line)


def _show(key: str, name: str, lines: Sequence[str], ahead: Outlook) -> None:
    rows = [{field: cell(value) for field, value in vars(one).items()} for one in ahead.changes]
    publish_page(key, name, "\n".join(f"- {escape(line)}" for line in lines), rows)
