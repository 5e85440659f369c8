"""Whole jobs, each one recorded run. Who runs them passes `each`, which carries a stage over its batches:
one after another with a progress bar on the command line, as Prefect tasks in a flow.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Protocol

from tqdm import tqdm

from db.clips import Selection, modified_uris
from db.engine import session_scope
from db.library import LibraryVersion
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.ingest import ingest
from flows.stages.label import Labelling, LabelRequest
from flows.stages.library import build_library
from flows.stages.results import Rows, export_results
from flows.stages.run import OpenRun, recorded_run
from flows.stages.tokenize import batches_to_tokenize, tokenize_batch
from flows.storage.location import canonical

Step = Callable[[Any], Counts]
Batches = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Night:
    """A finished run: what was asked, what was done, of which clips."""

    labelling: Labelling
    run: OpenRun
    selection: Selection


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


@dataclass(frozen=True)
class Partition:
    """The clips of one run: those of a place, or those of them last modified in a span of time."""

    place: str
    span: tuple[datetime, datetime] | None = None

    @property
    def name(self) -> str:
        """What the run's lock and row are called after."""
        return self.place if self.span is None else f"{self.place} {self.span[0].isoformat()}"

    def selection(self, runtime: Runtime) -> Selection:
        """The clips as the database is asked for them, once they are listed."""
        if self.span is None:
            return self.place
        with session_scope(runtime.engine) as session:
            return modified_uris(session, self.place, *self.span)


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


def run_night(
    runtime: Runtime,
    place: str,
    request: LabelRequest,
    each: Each,
    *,
    kind: str,
    export: bool,
    span: tuple[datetime, datetime] | None = None,
    day: date | None = None,
    flow_run_id: str | None = None,
) -> Night:
    """Lists, tokenizes, labels and, if asked, exports a partition as one run."""
    partition = Partition(canonical(place), span)
    recorded = recorded_run(runtime, kind, partition.name, asdict(request), day=day, flow_run_id=flow_run_id)
    with recorded as run:
        labelling = Labelling(runtime, request)  # an unknown library fails before any work
        ingest_place(runtime, partition.place, run, each)
        selection = partition.selection(runtime)
        tokenize_place(runtime, partition.place, selection, run, each)
        label_selection(labelling, selection, run, each)
        if export:
            export_rows(runtime, lambda session: labelling.rows(session, selection), run, each)
    return Night(labelling, run, selection)


def import_manifest(
    runtime: Runtime, name: str, manifest: str, task: str, *, flow_run_id: str | None = None
) -> tuple[LibraryVersion, OpenRun]:
    """Makes a library version from a manifest."""
    parameters = {"manifest": canonical(manifest), "task": task}
    with recorded_run(runtime, "build-library", name, parameters, flow_run_id=flow_run_id) as run:
        version = build_library(runtime, name, manifest, task, run.id)
        run.count("library", [Counts(demonstrations=len(version.demonstrations))])
    return version, run
