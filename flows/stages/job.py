"""Whole jobs, each one recorded run. Who runs them passes `each`, which carries a stage over its batches:
one after another with a progress bar on the command line, as Prefect tasks in a flow.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tqdm import tqdm

from db.clips import Selection
from db.library import LibraryVersion
from flows.runtime import Runtime
from flows.stages.canary import STAGE as CANARIES
from flows.stages.canary import Canaries, CanaryRequest
from flows.stages.counts import Counts
from flows.stages.ingest import ingest
from flows.stages.label import Labelling, LabelRequest
from flows.stages.library import build_library
from flows.stages.partition import Partition
from flows.stages.report import ClipAnswer, clip_answers
from flows.stages.results import Rows, export_results
from flows.stages.run import OpenRun, recorded_run
from flows.stages.summary import NightSummary, summarize
from flows.stages.tokenize import batches_to_tokenize, tokenize_batch
from flows.storage.location import canonical

Step = Callable[[Any], Counts]
Batches = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Night:
    """A finished run: what was asked, what was done, of which clips, and what each of them has now."""

    labelling: Labelling
    run: OpenRun
    selection: Selection
    answers: list[ClipAnswer]
    summary: NightSummary


class Each(Protocol):
    """Carries a step over the batches of a stage and yields what each one counted."""

    def __call__(self, stage: str, step: Step, batches: Batches) -> Iterable[Counts]: ...


def with_bar(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
    """One batch after another, with a bar on stderr where a person watches."""
    with tqdm(desc=stage, total=sum(map(len, batches)), disable=None, leave=False) as bar:
        for batch in batches:
            yield step(batch)
            bar.update(len(batch))


def export_rows(runtime: Runtime, rows: Rows, run: OpenRun, each: Each) -> None:
    """Writes answers as files."""
    run.count("export", each("export", lambda _: export_results(runtime, rows, run), [["rows"]]))


def ingest_place(runtime: Runtime, place: str, run: OpenRun, each: Each) -> None:
    """Lists the place."""
    run.count("ingest", each("ingest", lambda _: ingest(runtime, place), [[place]]))


def tokenize_place(runtime: Runtime, place: str, selection: Selection, run: OpenRun, each: Each) -> None:
    """Tokenizes every selected clip of the place that has no tokens yet."""
    storage = runtime.storage(place)
    batches = batches_to_tokenize(runtime, selection, runtime.settings.batch_size)
    run.count(
        "tokenize", each("tokenize", lambda batch: tokenize_batch(runtime, storage, batch, run.id), batches)
    )


def label_selection(labelling: Labelling, selection: Selection, run: OpenRun, each: Each) -> None:
    """Answers the request for every selected clip with tokens that has no answer to it yet."""
    labelling.prepare(run.id)
    batches = labelling.batches(selection)
    run.count("label", each("label", lambda batch: labelling.label_batch(batch, run.id), batches))
    labelling.state_bound(selection)


def ask_canaries(canaries: Canaries, run: OpenRun, each: Each) -> None:
    """Asks clips of known labels. Raises CanaryFailed where too few are answered right."""
    canaries.prepare(run.id)
    run.count(CANARIES, each(CANARIES, canaries.ask_batch, canaries.batches()))
    canaries.check(run.counts)


def run_night(
    runtime: Runtime,
    partition: Partition,
    request: LabelRequest,
    each: Each,
    *,
    kind: str,
    export: bool,
    canaries: CanaryRequest | None = None,
    flow_run_id: str | None = None,
) -> Night:
    """Lists, tokenizes, labels and, if asked, exports a partition as one run.

    Canaries come first: where too few are answered right, nothing else is done.
    """
    parameters = {"prefix": partition.prefix, **asdict(request), **(asdict(canaries) if canaries else {})}
    recorded = recorded_run(
        runtime, kind, partition.name, parameters, day=partition.day, flow_run_id=flow_run_id
    )
    with recorded as run:
        labelling = Labelling(runtime, request)  # an unknown library fails before any work
        if canaries:
            ask_canaries(Canaries(labelling, canaries), run, each)
        ingest_place(runtime, partition.place, run, each)
        selection = partition.selection(runtime)
        tokenize_place(runtime, partition.place, selection, run, each)
        label_selection(labelling, selection, run, each)
        if export:
            export_rows(runtime, lambda session: labelling.rows(session, selection), run, each)
        answers = clip_answers(labelling, selection)
        summary = summarize(answers)
        run.summary = asdict(summary)
    return Night(labelling, run, selection, answers, summary)


def import_manifest(
    runtime: Runtime, name: str, manifest: str, task: str, *, flow_run_id: str | None = None
) -> tuple[LibraryVersion, OpenRun]:
    """Makes a library version from a manifest."""
    parameters = {"manifest": canonical(manifest), "task": task}
    with recorded_run(runtime, "build-library", name, parameters, flow_run_id=flow_run_id) as run:
        version = build_library(runtime, name, manifest, task, run.id)
        run.count("library", [Counts(demonstrations=len(version.demonstrations))])
    return version, run
