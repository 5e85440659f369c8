"""Whole jobs, each one recorded run.

Callers pass the `BatchRunner`: the command line runs a few batches at once with a progress bar, a flow runs
them as Prefect tasks.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from typing import Any, Protocol

from tqdm import tqdm

from db.clips import ClipToTokenize, Selection
from db.counted_days import count_marked_days
from db.engine import session_scope
from db.runs import get_run
from flows.pipeline.clips.ingest import ingest
from flows.pipeline.clips.tokenize_clips import batches_to_tokenize, tokenize_batch
from flows.pipeline.files.lake import keep_lake
from flows.pipeline.labeling.canary import STAGE as CANARIES
from flows.pipeline.labeling.canary import Canaries, CanaryRequest
from flows.pipeline.labeling.events.files import write_event_files
from flows.pipeline.labeling.exports.results import write_export
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.report import ClipAnswers
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.by_label import refuse_multi_label
from flows.pipeline.nights.bounds import Figure, doubts, judge
from flows.pipeline.nights.parts import Shard, work_on_free_parts
from flows.pipeline.nights.summary import NightSummary, summarize
from flows.pipeline.reviews.choosing import make_queue
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.outage import Away
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.run import OpenRun, recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.code_version import code_version
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import work_on_batch

SHARD = "label-shard"
Step = Callable[[Any], Counts]
Batches = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Night:
    """A finished run over a partition and the answers that its clips have now.

    `figures` are those that have a bound.
    """

    labelings: Labelings
    run: OpenRun
    selection: Selection
    answers: ClipAnswers
    summary: NightSummary
    figures: Sequence[Figure]

    @property
    def labeling(self) -> Labeling:
        """The labeling by the library, or by the first label of a multi-label library."""
        return self.labelings.all[0]


class BatchRunner(Protocol):
    """Runs a step on each batch of a stage and yields the counts of each batch."""

    def __call__(self, stage: str, step: Step, batches: Batches) -> Iterable[Counts]: ...


class ShardsFailed(RuntimeError):
    """Some shards of a night failed."""


class Distribute(Protocol):
    """Has other processes tokenize and label the clips of a partition, and adds their counts to the run.

    Raises ShardsFailed if some of them did not finish.
    """

    def __call__(self, partition: Partition, labelings: Labelings, run: OpenRun) -> None: ...


def with_bar(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
    """Run one batch after another, with a progress bar if stderr is a terminal."""
    with tqdm(desc=stage, total=sum(map(len, batches)), disable=None, leave=False) as bar:
        for batch in batches:
            yield step(batch)
            bar.update(len(batch))


def run_stage(
    run: OpenRun, run_batches: BatchRunner, stage: str, step: Step, batches: Batches, *, things: str = "clips"
) -> Counts:
    """Run a step on batches while the run holds its partition, and return the sum of their counts.

    The step must be safe to repeat. Raises Away with the number of `things` that are left.
    """
    done, counted = list[int](), Counts()

    def run_batch(batch: Any) -> Counts:
        counts = _run_step(run, stage, batches.index(batch) + 1, partial(step, batch))
        done.append(len(batch))
        return counts

    try:
        for counts in run_batches(stage, run_batch, batches):
            counted.update(counts)
    except Away as away:
        left = sum(map(len, batches)) - sum(done)
        raise away.leaving(f"{left:,} {things} left, the retry finds them") from None
    return counted


def run_once(run: OpenRun, stage: str, step: Callable[[], Counts]) -> None:
    """Run a step that has no batches while the run holds its partition. The step must be safe to repeat."""
    try:
        _run_step(run, stage, 1, step)
    except Away as away:
        raise away.leaving(f"the step {stage} is left, the retry does it") from None


def _run_step(run: OpenRun, stage: str, number: int, step: Callable[[], Counts]) -> Counts:
    def attempt() -> Counts:
        run.lock.check()
        with work_on_batch(run.id, stage, number, run.figures):
            return step()

    counts = run.breaker.run(attempt)
    run.count(stage, counts)
    return counts


def ingest_place(runtime: Runtime, place: str, run: OpenRun, *, allow_loss: bool = False) -> None:
    """List a place. Raises MostClipsLost if most known clips are gone, unless that is allowed."""
    run_once(run, "ingest", partial(ingest, runtime, place, run.claim, allow_loss=allow_loss))


def tokenize_place(
    runtime: Runtime,
    place: str,
    selection: Selection,
    run: OpenRun,
    run_batches: BatchRunner,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> None:
    """Tokenize the selected clips of a place that lack tokens, or an embedding or windows of these models."""
    storage, size, models = (
        runtime.readable(place),
        runtime.settings.batch_size,
        (embedding_models, window_models),
    )
    batches = run.breaker.run(lambda: batches_to_tokenize(runtime, selection, size, *models))

    def step(batch: Sequence[ClipToTokenize]) -> Counts:
        return tokenize_batch(runtime, storage, batch, run.claim, *models)

    run_stage(run, run_batches, "tokenize", step, batches)


def tokenize_for(
    labeling: Labeling | Labelings,
    place: str,
    selection: Selection,
    run: OpenRun,
    run_batches: BatchRunner,
) -> None:
    """Tokenize the selected clips of a place that lack what a request compares."""
    tokenize_place(labeling.runtime, place, selection, run, run_batches, *labeling.models)


def label_selection(
    labeling: Labeling | Labelings, selection: Selection, run: OpenRun, run_batches: BatchRunner
) -> None:
    """Label the selected clips with tokens that have no answer to the request yet."""
    patiently = run.breaker.run
    patiently(lambda: labeling.prepare(run.claim))
    batches = patiently(lambda: labeling.batches(selection))
    if batches:
        patiently(labeling.load)  # once, before several threads ask for it
    run_stage(run, run_batches, "label", partial(labeling.label_batch, run=run.claim), batches)
    patiently(lambda: labeling.update_bounds(selection, run.claim))


def ask_canaries(canaries: Canaries, run: OpenRun, run_batches: BatchRunner) -> None:
    """Label clips whose labels are known. Raises CanaryFailed if too few answers are right."""
    run.breaker.run(lambda: canaries.prepare(run.claim))
    canaries.check(run_stage(run, run_batches, CANARIES, canaries.ask_batch, canaries.batches()))


def run_night(
    runtime: Runtime,
    partition: Partition,
    request: LabelRequest,
    run_batches: BatchRunner,
    *,
    kind: str,
    export: bool,
    canaries: CanaryRequest | None = None,
    flow_run_id: str | None = None,
    distribute: Distribute | None = None,
    least_clips: int = 1,
    reviews: int = 0,
) -> Night:
    """List, tokenize, label and optionally export a partition as one run.

    Canaries come first: if too few answers are right, nothing else is done. After `distribute`, this process
    does what the others left. Up to `reviews` clips are queued for people to judge, none of a multi-label
    library: they judge one label at a time.
    Raises NoClips if there are none, unless `least_clips` is 0.
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
        labelings = Labelings(runtime, replace(request, library=run.parameters["library"]))
        if canaries:
            refuse_multi_label(labelings.library)
            fixed = replace(canaries, canary_library=run.parameters["canary_library"])
            ask_canaries(Canaries(labelings.all[0].setup, fixed), run, run_batches)
        # a prompt that does not fit fails before anything is listed
        run.breaker.run(lambda: labelings.prepare(run.claim))
        ingest_place(runtime, partition.place, run, allow_loss=partition.allow_loss)
        selection = run.breaker.run(lambda: partition.selection(runtime))
        if least_clips:
            require_clips(runtime, partition.where, selection)
        if distribute:
            distribute(partition, labelings, run)
        tokenize_for(labelings, partition.place, selection, run, run_batches)
        label_selection(labelings, selection, run, run_batches)
        run.breaker.run(lambda: count_marked_days(runtime.engine))
        if export:
            _write_files(labelings, selection, run, partition.day, events=request.events)
        if reviews and not labelings.is_multi_label:
            library_version = labelings.library
            run.breaker.run(lambda: make_queue(runtime, library_version, run.claim, reviews, selection))
        answers = run.breaker.run(lambda: ClipAnswers(labelings, selection))
        summary = run.breaker.run(lambda: summarize(answers))
        figures = run.breaker.run(lambda: judge(runtime, run.id, partition, summary, least_clips))
        run.summary = asdict(replace(summary, doubts=doubts(figures)))
    return Night(labelings, run, selection, answers, summary, figures)


def _write_files(
    labelings: Labelings, selection: Selection, run: OpenRun, day: date | None, *, events: bool
) -> None:
    """Write the answers of a night, and its events if it heard any, to files and to the lake."""
    runtime = labelings.runtime
    rows = partial(labelings.rows, selection=selection)
    run_once(run, "export", partial(write_export, runtime, rows, run))
    if events:
        run_once(run, "events", partial(write_event_files, runtime, run))
    for labeling in labelings.all:
        library = labeling.setup.library.name
        run_once(run, "lake", partial(keep_lake, runtime, run.id, library, day))


def run_shard(
    runtime: Runtime,
    partition: Partition,
    shard: Shard,
    request: LabelRequest,
    run_batches: BatchRunner,
    *,
    flow_run_id: str | None = None,
) -> OpenRun:
    """Tokenize and label free parts of a listed night; rows are the night's, counts the shard's own.

    Raises RunNotFound, and ValueError if the night runs other code than this process.
    """
    with session_scope(runtime.engine) as session:
        if (night_version := get_run(session, shard.night).code_version) != code_version():
            raise ValueError(
                f"run {shard.night} has code {night_version}, this worker has {code_version()}: "
                "let all workers run the same version"
            )
    name = f"{partition.name} shard {shard.number} of {shard.count}"
    parameters = asdict(request) | {"night": str(shard.night)}
    recorded = recorded_run(
        runtime, SHARD, name, parameters, night=shard.night, day=partition.day, flow_run_id=flow_run_id
    )
    with recorded as run:
        labelings = Labelings(runtime, request)
        run.breaker.run(lambda: labelings.prepare(run.claim))

        def work(uris: Sequence[str]) -> None:
            tokenize_for(labelings, partition.place, uris, run, run_batches)
            label_selection(labelings, uris, run, run_batches)

        selection = run.breaker.run(lambda: partition.selection(runtime))
        work_on_free_parts(runtime, run, shard, selection, work)
    return run
