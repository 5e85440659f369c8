"""Whole jobs, each one recorded run. Who runs them passes `each`, which carries a stage over its batches:
one after another with a progress bar on the command line, as Prefect tasks in a flow.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from tqdm import tqdm

from db.clips import Selection, shard_uris
from db.engine import session_scope
from db.libraries import LibraryVersion
from db.runs import get_run
from flows.pipeline.ingest import ingest
from flows.pipeline.labeling.canary import STAGE as CANARIES
from flows.pipeline.labeling.canary import Canaries, CanaryRequest
from flows.pipeline.labeling.label import Labelling
from flows.pipeline.labeling.report import ClipAnswers
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.results import Rows, export_results
from flows.pipeline.libraries.library import LibraryTask, build_library
from flows.pipeline.nights.bounds import Figure, doubts, judge
from flows.pipeline.nights.summary import NightSummary, summarize
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.outage import Away
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.run import OpenRun, recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.code_version import code_version
from flows.pipeline.runtime.runtime import Runtime
from flows.pipeline.runtime.telemetry import work_on_batch
from flows.pipeline.storage.uris import canonical
from flows.pipeline.tokenize_clips import batches_to_tokenize, tokenize_batch

SHARD = "label-shard"
Step = Callable[[Any], Counts]
Batches = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Night:
    """A finished run: what was asked, what was done, of which clips, and what each of them has now.

    `figures` are those that have a bound.
    """

    labelling: Labelling
    run: OpenRun
    selection: Selection
    answers: ClipAnswers
    summary: NightSummary
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1 to `count`, of a night that is shared out."""

    night: UUID
    number: int
    count: int


class Each(Protocol):
    """Carries a step over the batches of a stage and yields what each one counted."""

    def __call__(self, stage: str, step: Step, batches: Batches) -> Iterable[Counts]: ...


class ShareOut(Protocol):
    """Has other processes tokenize and label the clips of a partition, and counts what they did."""

    def __call__(self, partition: Partition, labelling: Labelling, run: OpenRun) -> None: ...


def with_bar(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
    """Do one batch after another, with a bar on stderr where a person watches."""
    with tqdm(desc=stage, total=sum(map(len, batches)), disable=None, leave=False) as bar:
        for batch in batches:
            yield step(batch)
            bar.update(len(batch))


def run_stage(
    run: OpenRun, each: Each, stage: str, step: Step, batches: Batches, *, things: str = "clips"
) -> Counts:
    """Carry a step of a run over batches while its partition is held, and return what they counted.

    The step has to be safe to repeat. Raises Away, saying how many of what batches hold are left.
    """
    done, counted = list[int](), Counts()

    def attempt(batch: Any) -> Counts:
        run.lock.check()
        with work_on_batch(run.id, stage, batches.index(batch) + 1, run.figures):
            return step(batch)

    def held(batch: Any) -> Counts:
        counts = run.breaker.run(lambda: attempt(batch))
        run.count(stage, [counts])
        done.append(len(batch))
        return counts

    try:
        for counts in each(stage, held, batches):
            counted.update(counts)
    except Away as away:
        left = sum(map(len, batches)) - sum(done)
        raise away.leaving(f"{left:,} {things} left, the retry finds them") from None
    return counted


def run_once(run: OpenRun, each: Each, stage: str, step: Callable[[], Counts]) -> None:
    """Carry out a step that has no batches."""
    run_stage(run, each, stage, lambda _: step(), [[stage]], things=f"step ({stage})")


def export_rows(runtime: Runtime, rows: Rows, run: OpenRun, each: Each) -> None:
    """Writes answers as files."""
    run_once(run, each, "export", lambda: export_results(runtime, rows, run))


def ingest_place(runtime: Runtime, place: str, run: OpenRun, each: Each, *, allow_loss: bool = False) -> None:
    """List the place. Raises MostClipsLost where most known clips are gone, unless that is allowed."""
    run_once(run, each, "ingest", lambda: ingest(runtime, place, run.claim, allow_loss=allow_loss))


def tokenize_place(runtime: Runtime, place: str, selection: Selection, run: OpenRun, each: Each) -> None:
    """Tokenizes every selected clip of the place that has no tokens yet."""
    storage, size = runtime.readable(place), runtime.settings.batch_size
    batches = run.breaker.run(lambda: batches_to_tokenize(runtime, selection, size))
    run_stage(
        run, each, "tokenize", lambda batch: tokenize_batch(runtime, storage, batch, run.claim), batches
    )


def label_selection(labelling: Labelling, selection: Selection, run: OpenRun, each: Each) -> None:
    """Answers the request for every selected clip with tokens that has no answer to it yet."""
    patiently = run.breaker.run
    patiently(lambda: labelling.prepare(run.claim))
    batches = patiently(lambda: labelling.batches(selection))
    if batches:
        _ = patiently(lambda: labelling.labeler)  # once, before several threads ask for it
    run_stage(run, each, "label", lambda batch: labelling.label_batch(batch, run.claim), batches)
    patiently(lambda: labelling.state_bound(selection, run.claim))


def ask_canaries(canaries: Canaries, run: OpenRun, each: Each) -> None:
    """Asks clips of known labels. Raises CanaryFailed where too few are answered right."""
    run.breaker.run(lambda: canaries.prepare(run.claim))
    canaries.check(run_stage(run, each, CANARIES, canaries.ask_batch, canaries.batches()))


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
    share_out: ShareOut | None = None,
    least_clips: int = 1,
) -> Night:
    """Lists, tokenizes, labels and, if asked, exports a partition as one run.

    Canaries come first: where too few are answered right, nothing else is done. What is shared out to other
    processes is done when their turn is over, and what they leave is done here. Raises NoClips where there
    are none, unless `least_clips` is 0.
    """
    parameters = {"prefix": partition.prefix, **asdict(request), **(asdict(canaries) if canaries else {})}
    recorded = recorded_run(
        runtime,
        kind,
        partition.name,
        parameters,
        libraries=("library", "canary_library") if canaries else ("library",),
        day=partition.day,
        flow_run_id=flow_run_id,
    )
    with recorded as run:
        labelling = Labelling(runtime, replace(request, library=run.parameters["library"]))
        if canaries:
            fixed = replace(canaries, canary_library=run.parameters["canary_library"])
            ask_canaries(Canaries(labelling, fixed), run, each)
        # a prompt that does not fit fails before anything is listed
        run.breaker.run(lambda: labelling.prepare(run.claim))
        ingest_place(runtime, partition.place, run, each, allow_loss=partition.allow_loss)
        selection = run.breaker.run(lambda: partition.selection(runtime))
        if least_clips:
            require_clips(runtime, partition.where, selection)
        if share_out:
            share_out(partition, labelling, run)
        tokenize_place(runtime, partition.place, selection, run, each)
        label_selection(labelling, selection, run, each)
        if export:
            export_rows(runtime, lambda session: labelling.rows(session, selection), run, each)
        answers = run.breaker.run(lambda: ClipAnswers(labelling, selection))
        summary = run.breaker.run(lambda: summarize(answers))
        figures = run.breaker.run(lambda: judge(runtime, run.id, partition, summary, least_clips))
        run.summary = asdict(replace(summary, doubts=doubts(figures)))
    return Night(labelling, run, selection, answers, summary, figures)


def run_shard(
    runtime: Runtime,
    partition: Partition,
    shard: Shard,
    request: LabelRequest,
    each: Each,
    *,
    flow_run_id: str | None = None,
) -> OpenRun:
    """Tokenizes and labels one part of a listed partition; its rows are the night's, its counts its own.

    Raises RunNotFound, and ValueError when the night runs other code than this process.
    """
    with session_scope(runtime.engine) as session:
        if (theirs := get_run(session, shard.night).code_version) != code_version():
            raise ValueError(
                f"run {shard.night} has code {theirs}, this worker has {code_version()}: "
                "let all workers run the same version"
            )
        selection = shard_uris(session, partition.selection(runtime), shard.number, shard.count)
    name = f"{partition.name} shard {shard.number} of {shard.count}"
    asked = asdict(request) | {"night": str(shard.night)}
    recorded = recorded_run(
        runtime, SHARD, name, asked, night=shard.night, day=partition.day, flow_run_id=flow_run_id
    )
    with recorded as run:
        labelling = Labelling(runtime, request)
        tokenize_place(runtime, partition.place, selection, run, each)
        label_selection(labelling, selection, run, each)
    return run


def import_manifest(
    runtime: Runtime,
    name: str,
    manifest: str,
    task: LibraryTask,
    instruction: str | None = None,
    *,
    promote: bool = False,
    flow_run_id: str | None = None,
) -> tuple[LibraryVersion, OpenRun]:
    """Make a library version from a manifest, and put it into use where it is promoted or the first."""
    parameters = {
        "manifest": canonical(manifest),
        "task": task,
        "instruction": instruction,
        "promote": promote,
    }
    with recorded_run(runtime, "build-library", name, parameters, flow_run_id=flow_run_id) as run:
        version = build_library(runtime, name, manifest, task, run.claim, instruction, promote=promote)
        run.count("library", [Counts(demonstrations=len(version.demonstrations))])
    return version, run
