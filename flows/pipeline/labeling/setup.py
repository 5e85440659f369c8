"""Everything that answers a label request, made once per process: library, prompt and labeler."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING

from core.errors import AudioRejected, PromptError
from db.clips import LABEL_STAGE
from db.engine import session_scope
from db.labeler_choices import StoredChoice
from db.libraries import get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.clips.tokenize_clips import tokenize_uris
from flows.pipeline.labeling.events.listener import listener_of
from flows.pipeline.labeling.labelers.answering import Answering, asks_llm
from flows.pipeline.labeling.labelers.comparison import LabelerComparison
from flows.pipeline.labeling.labelers.prompt import LibraryPrompt
from flows.pipeline.libraries.by_label import refuse_multi_label
from flows.pipeline.libraries.demonstrations import missing_uris
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runtime.fingerprints import work_key
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import timed

if TYPE_CHECKING:
    from core.in_context.choosing.choice import Choice
    from core.in_context.features import ClipFeatures
    from core.in_context.labelers import Labeler
    from flows.pipeline.labeling.labelers.side_by_side import ClipLabel
    from flows.pipeline.labeling.request import LabelRequest

TASK = LABEL_STAGE
NOT_DECODING_FIELDS = {"library", "min_margin", "nearest_shots", "labeler", "coverage", "events"}
"""Fields of a request that are not decoding parameters of the work key.

The key holds the library version, the labeler that answers and, in the prompt hash, the nearest shots. Margin
and coverage change no answer, and events have keys of their own.
"""


class LabelingSetup:
    """The library, prompt and labeler of a request.

    `choice` is the one to answer by instead of the current one. Raises LibraryNotFound, and PromptError for a
    library of another task.
    """

    def __init__(self, runtime: Runtime, request: LabelRequest, choice: StoredChoice | None = None) -> None:
        self.runtime = runtime
        self.request = request
        with session_scope(runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.library))
        refuse_multi_label(self.library)
        if self.library.task != TASK:
            raise PromptError(f"library {self.library.name} is for {self.library.task}, not for labels")
        self.demonstrated = {row.content_sha256 for row in self.library.demonstrations}
        self.answering = Answering(runtime, request, self.library, choice)
        self.prompt = LibraryPrompt(runtime, request, self.library, self.answering)
        self.comparison = LabelerComparison(runtime, self.answering, self.prompt, request.coverage)

    @property
    def window_models(self) -> list[int]:
        """The embedding models whose windows clips need. Raises PromptError for events without a model."""
        return listener_of(self.runtime, self.answering.method).window_models if self.request.events else []

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt, and choose the labeler if none is chosen yet.

        This loads the codec only for demonstrations that have no tokens of it, and the LLM only to choose.
        """
        if not self.answering.is_known:
            self._tokenize_for_all(run)
            self.comparison.choose(run)
        models, windows = self.answering.embedding_models, self.window_models
        waiting = self._waiting(self.answering.by_latent, models, windows)
        tokenize_uris(self.runtime, waiting, run, models, windows)
        _ = self.prompt.hash

    def measure(self, run: RunClaim) -> Choice:
        """Compare all labelers on the library's own clips."""
        self._tokenize_for_all(run)
        return self.comparison.measure()

    def is_prepared(self) -> bool:
        """Return whether the prompt can be made without reading audio, and a labeler is chosen."""
        answering = self.answering
        if not answering.is_known:
            return False
        return not self._waiting(answering.by_latent, answering.embedding_models, self.window_models)

    def _tokenize_for_all(self, run: RunClaim) -> None:
        """Store what any of the labelers compares of the demonstrations."""
        models = [one.id for one in self.runtime.known_embeddings.values()]
        tokenize_uris(self.runtime, self._waiting(True, models), run, models)

    def _waiting(self, by_latent: bool, models: Collection[int], windows: Collection[int] = ()) -> set[str]:
        """Return the demonstrations of which something is not stored that a labeler compares."""
        return missing_uris(
            self.runtime,
            self.library,
            with_latent=by_latent,
            embedding_models=models,
            window_models=windows,
        )

    @cached_property
    def labeler(self) -> Labeler:
        """The plain labeler: few-shot, or nearest neighbor on tokens."""
        from core.in_context.labelers import NearestNeighborLabeler

        prompt = self.prompt
        if not asks_llm(self.answering.method):
            return NearestNeighborLabeler(prompt.labels, prompt.demonstrations)
        return prompt.few_shot_labeler(prompt.labels, prompt.demonstrations)

    def load(self) -> None:
        """Load the models and read the demonstrations, before several threads need them."""
        if self.answering.is_plain:
            _ = self.labeler
        _ = self.comparison.side_by_side

    def predict(self, clips: Sequence[ClipFeatures]) -> list[ClipLabel | AudioRejected]:
        """Label clips. A clip on which the labeler fails alone is rejected as `failed`."""
        step: ModelStep[ClipFeatures, ClipLabel] = ModelStep(
            "label",
            lambda some: _finite(self._label(some)),
            self.runtime.batch_limits,
            lambda: self._label([self.comparison.demonstrations[0].features]),
        )
        self.load()
        with self.runtime.device_lock(), timed("label"):
            return step.run(clips)

    def _label(self, clips: Sequence[ClipFeatures]) -> list[ClipLabel]:
        answering, comparison = self.answering, self.comparison
        labelers = comparison.side_by_side
        if answering.is_plain:
            predictions = self.labeler.label([clip.codes for clip in clips])
            return labelers.beside(predictions, clips, comparison.bound)
        return labelers.label(answering.method, answering.calibration, clips, comparison.bound)

    def work_key(self, content_sha256: bytes) -> bytes:
        """Return the key of the work on one content: equal keys have equal answers."""
        return work_key(content_sha256.hex(), self._shared_key)

    @cached_property
    def _shared_key(self) -> str:
        """The part of the work keys that is the same for all contents."""
        library, answering = self.library, self.answering
        decoding = {n: v for n, v in asdict(self.request).items() if n not in NOT_DECODING_FIELDS}
        parts = [
            self.runtime.codec_fingerprint,
            answering.llm.fingerprint if answering.llm else answering.method,
            f"{library.name}@{library.version}",
            self.prompt.hash,
            TASK,
            json.dumps(decoding, sort_keys=True),
        ]
        return "\0".join(parts if answering.is_plain else [*parts, json.dumps(answering.key, sort_keys=True)])


def _finite(answers: Sequence[ClipLabel]) -> Sequence[ClipLabel]:
    """Raise ArithmeticError for answers that no row can hold: another clip's codes may have caused them."""
    if not all(math.isfinite(p) for one in answers for p in (one.margin, *one.probabilities.values())):
        raise ArithmeticError("the model's probabilities are not finite numbers")
    return answers
