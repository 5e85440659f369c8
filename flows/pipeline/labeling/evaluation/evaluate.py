"""Evaluation on clips of known labels: few-shot episodes, baselines and controls, as in the paper.

Only the run is recorded, and its figures as JSON under the run's prefix.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from core.evaluation.layouts import Column, columns
from flows.pipeline.labeling.evaluation.labeled_manifest import LabeledManifest
from flows.pipeline.labeling.evaluation.request import EvaluationRequest
from flows.pipeline.nights.jobs import BatchRunner, run_stage
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runs.run import OpenRun, recorded_run
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

if TYPE_CHECKING:
    from core.evaluation.experiment import Experiment, Job, MethodFactory
    from core.evaluation.tables import Table
    from core.prompts.template import Layers

KIND = "evaluate-task"

PROTOCOLS = {
    "service": "whole clips are encoded and asked in windows, the most probable label answers",
    "paper": "clips are cut or padded to 1 second before they are encoded, greedy decoding answers",
}


class Evaluation:
    """The clips of a request, which are read first, and the experiment with episodes of them."""

    def __init__(self, runtime: Runtime, request: EvaluationRequest) -> None:
        self.runtime, self.request = runtime, request
        paper = request.protocol == "paper"
        self.manifest = LabeledManifest(runtime, request.manifest, first_second=paper)

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment, once all clips are read. Raises ValueError if there are too few."""
        from core.evaluation.experiment import Experiment

        request, clips = self.request, self.manifest.clips()
        column = Column(request.n_way, request.k_shot, request.instruction, request.repeats)
        table_columns = columns(request.layout, column, len(set(clips.labels)))
        return Experiment(clips, table_columns, self._models(), count=request.episodes, seed=request.seed)

    def ask_part(self, part: Sequence[tuple[Job, int]]) -> Counts:
        """Ask a part of the experiment, in smaller parts if memory runs out; safe to repeat."""
        step: ModelStep[tuple[Job, int], int] = ModelStep(
            "ask", partial(_replies, self.experiment), self.runtime.batch_limits
        )
        with self.runtime.device_lock():
            return Counts(replies=sum(one for one in step.run(part) if isinstance(one, int)))

    @cached_property
    def table(self) -> Table:
        """The table of scores, once all parts are asked."""
        from core.evaluation.tables import Table
        from core.evaluation.verdict import confusion, verdicts

        experiment, request = self.experiment, self.request
        table = Table(
            request.layout,
            request.paper,
            experiment.columns,
            experiment.scores(),
            experiment.answering,
            tuple(self._about()),
            confusion=confusion(experiment, 0),
        )
        names = list(map(table.column_name, table.columns))
        return replace(table, verdicts=tuple(f"{names[at]}: {line}" for at, line in verdicts(experiment)))

    def _models(self) -> dict[str, MethodFactory]:
        """Return a model for each row of the table, none if no LLM is set."""
        if self.runtime.settings.llm is None:
            return {}
        name = Path(self.runtime.settings.llm).name
        if self.request.layout == "prompts":
            kinds: tuple[Layers, ...] = ("semantic", "semantic+acoustic")
            return {f"{name}, {layers}": self._few_shot(layers) for layers in kinds}
        if self.request.layers == "auto":
            return {name: self._few_shot(None)}
        return {f"{name}, {self.request.layers}": self._few_shot(self.request.layers)}

    def _few_shot(self, layers: Layers | None) -> MethodFactory:
        from core.evaluation.experiment import few_shot
        from core.prompts.few_shot import FewShotSettings

        request, llm = self.request, self.runtime.llm
        assert llm is not None
        settings = FewShotSettings(
            layers=layers,
            window=request.window or None,
            max_windows=request.max_windows,
            mode=request.protocol,
            orders=request.orders or None,
        )
        return few_shot(llm.llama, llm.vocabulary, settings)

    def _about(self) -> list[str]:
        """Return sentences about the evaluation."""
        request, settings, read = self.request, self.runtime.settings, self.manifest.read.values()
        labels, seconds = {clip.row.label for clip in read}, [clip.seconds for clip in read]
        grouped, left_out = sum(bool(clip.row.group) for clip in read), len(self.manifest.left_out)
        return [
            f"Here: {request.episodes} episodes of {len(read)} clips of {len(labels)} labels, "
            f"{min(seconds):.1f} to {max(seconds):.1f} s, median {median(seconds):.1f} s; {left_out} rows "
            f"left out; {grouped} clips have a group, which no demonstration shares with the query.",
            f"Protocol {request.protocol}: {PROTOCOLS[request.protocol]}.",
            f"Codec {settings.codec}, LLM {settings.llm or 'none: nearest tokens answers'}.",
            *dict.fromkeys(f"{job.row}: {error}" for job, error in self.experiment.too_long.items()),
        ]


def _replies(experiment: Experiment, part: Sequence[tuple[Job, int]]) -> list[int]:
    """Return 1 for each episode of a part if the part has replies, else 0."""
    return [experiment.ask(part) // len(part)] * len(part)


def evaluate(
    runtime: Runtime,
    request: EvaluationRequest,
    run_batches: BatchRunner,
    *,
    flow_run_id: str | None = None,
) -> tuple[Evaluation, OpenRun]:
    """Evaluate a manifest as one run and write its figures to `run.manifest`."""
    partition = canonical(request.manifest)
    recorded = recorded_run(runtime, KIND, partition, asdict(request), flow_run_id=flow_run_id)
    with recorded as run:
        evaluation = Evaluation(runtime, request)
        manifest = evaluation.manifest
        run_stage(run, run_batches, "read", manifest.read_batch, manifest.batches())
        parts = evaluation.experiment.parts()
        run_stage(run, run_batches, "ask", evaluation.ask_part, parts, things="replies")
        storage = runtime.storage(runtime.settings.storage_uri)
        figures = figures_json(evaluation, run)
        run.manifest = storage.write(f"runs/{run.id}/evaluation.json", figures).uri
    return evaluation, run


def figures_json(evaluation: Evaluation, run: OpenRun) -> bytes:
    """Return the request and all figures as JSON."""
    table, runtime = evaluation.table, evaluation.runtime
    figures = {
        "run": str(run.id),
        "request": asdict(evaluation.request),
        "codec": {"name": runtime.settings.codec, "fingerprint": runtime.codec.fingerprint},
        "llm": {
            "name": runtime.settings.llm,
            "fingerprint": runtime.llm.fingerprint if runtime.llm else None,
        },
        "columns": [asdict(column) for column in table.columns],
        "scores": {name: [one and asdict(one) for one in row] for name, row in table.scores.items()},
        "answering": table.answering,
        "paper": {"table": table.paper_name, "rows": table.paper_rows},
        "about": table.about,
        "verdicts": table.verdicts,
        "confusion": [[right, said, count] for (right, said), count in table.confusion.items()],
        "left_out": [asdict(row) for row in evaluation.manifest.left_out],
    }
    return json.dumps(figures, ensure_ascii=False, indent=1).encode()
