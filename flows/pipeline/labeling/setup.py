"""Everything that answers a label request, made once per process: library, prompt and labeler."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from core.errors import AudioRejected, PromptError, PromptTooLong
from db.clips import LABEL_STAGE
from db.engine import session_scope
from db.libraries import get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.libraries.demonstrations import missing_uris, stored_tokens
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import timed
from flows.pipeline.stored_codes import clip_codes
from flows.pipeline.tokenize_clips import tokenize_uris

if TYPE_CHECKING:
    from core.in_context.labelers import Labeler, Prediction
    from core.prompts.demonstrations import LabeledClip
    from core.prompts.few_shot import FewShotPrompt, FewShotSettings
    from core.tokens.clip_codes import ClipCodes
    from flows.pipeline.labeling.request import LabelRequest

TASK = LABEL_STAGE
NOT_DECODING_FIELDS = {"library", "min_margin", "nearest_shots"}
"""Fields of a request that are not decoding parameters of the work key.

The key holds the library version and, in the prompt hash, the nearest shots. The margin changes no answer.
"""


@dataclass(frozen=True)
class PromptSize:
    """Token ids of the longest prompt, and of the LLM's context."""

    longest: int
    context: int


class LabelingSetup:
    """The library, prompt and labeler of a request.

    Raises LibraryNotFound, and PromptError for a library of another task.
    """

    def __init__(self, runtime: Runtime, request: LabelRequest) -> None:
        self.runtime = runtime
        self.request = request
        with session_scope(runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.library))
        if self.library.task != TASK:
            raise PromptError(f"library {self.library.name} is for {self.library.task}, not for labels")
        self.method = "nearest-neighbour" if runtime.llm is None else "few-shot"
        self.demonstrated = {row.content_sha256 for row in self.library.demonstrations}

    @property
    def by_latent(self) -> bool:
        """Whether demonstrations are chosen for each clip, so that both need pooled latents."""
        return self.request.nearest_shots > 0 and self.method == "few-shot"

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt. This loads the codec only for demonstrations that have no tokens of it."""
        waiting = missing_uris(self.runtime, self.library, with_latent=self.by_latent)
        tokenize_uris(self.runtime, waiting, run)
        _ = self.prompt_hash

    def is_prepared(self) -> bool:
        """Return whether the prompt can be made without reading audio."""
        return not missing_uris(self.runtime, self.library, with_latent=self.by_latent)

    @cached_property
    def prompt_hash(self) -> str:
        """The hash that the labeler has, computed without the models. Raises what the labeler would raise."""
        from core.in_context.prompt_hashes import nearest_neighbor_hash, nearest_shots_hash
        from core.prompts.demonstrations import check_demonstrated, select_demonstrations

        if self._prompt is None:
            check_demonstrated(self._labels, self._demonstrations)
            return nearest_neighbor_hash(self._demonstrations)
        self._check_size()
        if not (shots := self.request.nearest_shots):
            return self._prompt.prompt_hash
        select_demonstrations(self._demonstrations, self._labels, shots)
        return nearest_shots_hash(self._prompt, self._demonstrations, shots)

    @cached_property
    def prompt_size(self) -> PromptSize | None:
        """The size of the longest prompt. None if no LLM is set."""
        if self._prompt is None or self.runtime.llm is None:
            return None
        shots = self.request.nearest_shots
        longest = self._prompt.longest_with(shots) if shots else self._prompt.longest
        return PromptSize(longest, self.runtime.llm.context_length)

    def _check_size(self) -> None:
        size = self.prompt_size
        if size and size.longest > size.context:
            advice = (
                f"library {self.library.name}@{self.library.version} shows more than this LLM can read; ask "
                "with fewer shots (k_shot) or the nearest ones (nearest_shots), or use a smaller version"
            )
            raise PromptTooLong(size.longest, size.context, advice)

    @cached_property
    def _prompt(self) -> FewShotPrompt | None:
        from core.prompts.few_shot import FewShotPrompt
        from core.prompts.model_slots import read_model_prompt

        if (llm := self.runtime.llm) is None:
            return None
        slots = read_model_prompt(llm.directory)
        return FewShotPrompt(llm.vocabulary, self._labels, self._demonstrations, self._settings(), slots)

    @cached_property
    def labeler(self) -> Labeler:
        """The few-shot labeler, or nearest neighbor on tokens if no LLM is set."""
        from core.in_context.labelers import FewShotLabeler, NearestNeighborLabeler
        from core.in_context.nearest_shots import NearestShotsLabeler

        if (llm := self.runtime.llm) is None:
            return NearestNeighborLabeler(self._labels, self._demonstrations)
        arguments = (llm.llama, llm.vocabulary, self._labels, self._demonstrations, self._settings())
        shots = self.request.nearest_shots
        return NearestShotsLabeler(*arguments, shots) if shots else FewShotLabeler(*arguments)

    def predict(self, clips: Sequence[ClipCodes]) -> list[Prediction | AudioRejected]:
        """Label clips. A clip on which the labeler fails alone is rejected as `failed`."""
        labeler = self.labeler
        step: ModelStep[ClipCodes, Prediction] = ModelStep(
            "label",
            lambda some: _finite(labeler.label(some)),
            self.runtime.batch_limits,
            lambda: labeler.label([self._demonstrations[0].codes]),
        )
        with self.runtime.device_lock(), timed("label"):
            return step.run(clips)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        from core.prompts.demonstrations import label_set

        return label_set(sorted({clip.label for clip in self._demonstrations}))

    @cached_property
    def _demonstrations(self) -> list[LabeledClip]:
        """The demonstrations of the prompt: all in library order, or `k_shot` of each label."""
        from core.prompts.demonstrations import LabeledClip, select_demonstrations

        stored = stored_tokens(self.runtime, self.library, with_latent=self.by_latent)
        library = [
            LabeledClip(clip_codes(stored[row.content_sha256]), row.label_or_text)
            for row in self.library.demonstrations
        ]
        if self.request.k_shot == 0:
            return library
        labels = sorted({clip.label for clip in library})
        return select_demonstrations(library, labels, self.request.k_shot)

    def _settings(self) -> FewShotSettings:
        from core.prompts.few_shot import FewShotSettings

        request = self.request
        return FewShotSettings(
            layers=None if request.layers == "auto" else request.layers,
            repeats=request.repeats,
            max_windows=request.max_windows,
            orders=request.orders or None,
        )

    def work_key(self, content_sha256: bytes) -> bytes:
        """Return the key of the work on one content: equal keys have equal answers."""
        return hashlib.sha256(f"{content_sha256.hex()}\0{self._shared_key}".encode()).digest()

    @cached_property
    def _shared_key(self) -> str:
        """The part of the work keys that is the same for all contents."""
        runtime, library = self.runtime, self.library
        decoding = {n: v for n, v in asdict(self.request).items() if n not in NOT_DECODING_FIELDS}
        parts = [
            runtime.codec_fingerprint,
            runtime.llm.fingerprint if runtime.llm else self.method,
            f"{library.name}@{library.version}",
            self.prompt_hash,
            TASK,
            json.dumps(decoding, sort_keys=True),
        ]
        return "\0".join(parts)


def _finite(predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """Raise ArithmeticError for answers that no row can hold: another clip's codes may have caused them."""
    if not all(math.isfinite(p) for one in predictions for p in (one.margin, *one.probabilities.values())):
        raise ArithmeticError("the model's probabilities are not finite numbers")
    return predictions
