"""The part of a night that an actor of Ray does: models that are loaded once, and the batches it is handed.

An actor has the settings of its node's environment, as every worker has: no password travels with a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from db.runs import RunClaim
from flows.pipeline.clips.tokenize_clips import tokenize_batch
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.outage import Breaker
from flows.pipeline.runtime.code_version import code_version
from flows.pipeline.runtime.resources import BATCHES_AT_ONCE, computing_side_by_side, open_runtime
from flows.pipeline.runtime.telemetry import Figures, work_on_batch

PROBE = bytes(32)
"""A content whose work key is equal wherever code, models, library and prompt are equal."""


@dataclass(frozen=True)
class SharedNight:
    """What an actor needs to know of a night. `work_key` is that of PROBE."""

    claim: RunClaim
    place: str
    request: LabelRequest
    code_version: str
    work_key: bytes

    @classmethod
    def of(cls, labelings: Labelings, place: str, claim: RunClaim) -> "SharedNight":
        """Return it for a request whose prompt is prepared."""
        return cls(claim, place, labelings.request, code_version(), labelings.work_key(PROBE))


class BatchWorker:
    """Works on batches of a night in its name, until another attempt takes the night over.

    Raises ValueError if this node has other code, models or settings than the night.
    """

    def __init__(self, night: SharedNight) -> None:
        if night.code_version != code_version():
            raise ValueError(
                f"run {night.claim.id} has code {night.code_version}, this node of Ray has {code_version()}: "
                "let all nodes run the same version"
            )
        self._night, self._runtime = night, open_runtime(Settings().reading(night.place))
        self._breaker = Breaker(self._runtime.settings.outage_timeout)
        self._labelings = Labelings(self._runtime, night.request)
        self._breaker.run(self._load)

    def _load(self) -> None:
        self._labelings.prepare(self._night.claim)
        if self._night.work_key != self._labelings.work_key(PROBE):
            raise ValueError(
                "this node of Ray would answer otherwise than the night: let WORDWAVE_CODEC, WORDWAVE_LLM "
                "and WORDWAVE_LLM_DTYPE be the same on all nodes and where the night runs"
            )
        _ = self._runtime.codec
        self._labelings.load()

    def is_ready(self) -> bool:
        """Return True, once the models are loaded."""
        return True

    def work(self, stage: str, number: int, batch: Sequence[Any]) -> tuple[Counts, Mapping[str, float]]:
        """Run a stage on a batch and return its counts and figures. Safe to repeat, here or elsewhere."""
        step, figures = partial(self._steps[stage], batch), Figures()

        def attempt() -> Counts:
            with work_on_batch(self._night.claim.id, stage, number, figures):
                return step()

        with computing_side_by_side(BATCHES_AT_ONCE):
            return self._breaker.run(attempt), figures.stored()

    @property
    def _steps(self) -> Mapping[str, Callable[[Sequence[Any]], Counts]]:
        return {"tokenize": self._tokenize, "label": self._label}

    def _tokenize(self, batch: Sequence[Any]) -> Counts:
        storage = self._runtime.readable(self._night.place)
        return tokenize_batch(self._runtime, storage, batch, self._night.claim, *self._labelings.models)

    def _label(self, batch: Sequence[bytes]) -> Counts:
        return self._labelings.label_batch(batch, self._night.claim)
