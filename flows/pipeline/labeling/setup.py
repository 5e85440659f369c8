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
from db.labeler_choices import StoredChoice, add_first_choice
from db.libraries import get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.labeling.labelers.answering import Answering, asks_llm, choice_of
from flows.pipeline.libraries.demonstrations import missing_uris, stored_tokens
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import timed
from flows.pipeline.stored_codes import clip_codes, clip_features
from flows.pipeline.tokenize_clips import tokenize_uris

if TYPE_CHECKING:
    from core.in_context.choosing.choice import Choice
    from core.in_context.choosing.library import Demonstration, Installed, ProbabilityLabeler
    from core.in_context.choosing.unknown import UnknownBound
    from core.in_context.features import ClipFeatures
    from core.in_context.labelers import Labeler
    from core.prompts.demonstrations import LabeledClip
    from core.prompts.few_shot import FewShotPrompt, FewShotSettings
    from core.tokens.clip_codes import ClipCodes
    from flows.pipeline.labeling.labelers.side_by_side import ClipLabel, SideBySide
    from flows.pipeline.labeling.request import LabelRequest
    from flows.pipeline.runtime.language_model import LanguageModel

TASK = LABEL_STAGE
NOT_DECODING_FIELDS = {"library", "min_margin", "nearest_shots", "labeler", "coverage"}
"""Fields of a request that are not decoding parameters of the work key.

The key holds the library version, the labeler that answers and, in the prompt hash, the nearest shots. Margin
and coverage change no answer.
"""


@dataclass(frozen=True)
class PromptSize:
    """Token ids of the longest prompt, and of the LLM's context."""

    longest: int
    context: int


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
        if self.library.task != TASK:
            raise PromptError(f"library {self.library.name} is for {self.library.task}, not for labels")
        self.demonstrated = {row.content_sha256 for row in self.library.demonstrations}
        self.answering = Answering(runtime, request, self.library, choice)

    @property
    def method(self) -> str:
        """The name of the labeler that answers. Raises LabelerNotChosen before the first run of auto."""
        return self.answering.method

    @property
    def llm(self) -> LanguageModel | None:
        """The LLM that the labeler asks, None if it asks none. Raises PromptError if it is not set."""
        if not asks_llm(self.method):
            return None
        if self.runtime.llm is None:
            raise PromptError(f"the labeler {self.method} asks an LLM: let WORDWAVE_LLM name one")
        return self.runtime.llm

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt, and choose the labeler if none is chosen yet.

        This loads the codec only for demonstrations that have no tokens of it, and the LLM only to choose.
        """
        if not self.answering.is_known:
            self.choose(run)
        waiting = missing_uris(
            self.runtime,
            self.library,
            with_latent=self.answering.by_latent,
            embedding_models=self.answering.embedding_models,
        )
        tokenize_uris(self.runtime, waiting, run, self.answering.embedding_models)
        _ = self.prompt_hash

    def choose(self, run: RunClaim) -> None:
        """Compare all labelers on the library's own clips and choose one, unless another run has."""
        choice = choice_of(self.measure(run), "run")
        with run_session(self.runtime, run) as session:
            add_first_choice(session, self.answering.models, choice, run.writes_as)

    def measure(self, run: RunClaim) -> Choice:
        """Compare all labelers on the library's own clips."""
        from core.in_context.choosing.choice import choose

        models = [one.id for one in self.runtime.known_embeddings.values()]
        waiting = missing_uris(self.runtime, self.library, with_latent=True, embedding_models=models)
        tokenize_uris(self.runtime, waiting, run, models)
        with self.runtime.device_lock(), timed("choose"):
            return choose(self.demonstrations, self.installed(few_shot=self._llm_can_be_asked()))

    def is_prepared(self) -> bool:
        """Return whether the prompt can be made without reading audio, and a labeler is chosen."""
        if not self.answering.is_known:
            return False
        return not missing_uris(
            self.runtime,
            self.library,
            with_latent=self.answering.by_latent,
            embedding_models=self.answering.embedding_models,
        )

    @cached_property
    def prompt_hash(self) -> str:
        """The hash that the labeler has, computed without the models. Raises what the labeler would raise.

        Labelers that show no prompt have the hash of their name: their key holds the library version.
        """
        from core.in_context.prompt_hashes import nearest_neighbor_hash, nearest_shots_hash
        from core.prompts.demonstrations import check_demonstrated, select_demonstrations

        if self._prompt is None:
            check_demonstrated(self._labels, self._demonstrations)
            if self.answering.is_plain:
                return nearest_neighbor_hash(self._demonstrations)
            return hashlib.sha256(self.method.encode()).hexdigest()
        self._check_size()
        if not (shots := self.request.nearest_shots):
            return self._prompt.prompt_hash
        select_demonstrations(self._demonstrations, self._labels, shots)
        return nearest_shots_hash(self._prompt, self._demonstrations, shots)

    @cached_property
    def prompt_size(self) -> PromptSize | None:
        """The size of the longest prompt. None if the labeler asks no LLM."""
        return self._size_of(self._prompt) if self._prompt else None

    def _size_of(self, prompt: FewShotPrompt) -> PromptSize:
        assert self.runtime.llm
        shots = self.request.nearest_shots
        longest = prompt.longest_with(shots) if shots else prompt.longest
        return PromptSize(longest, self.runtime.llm.context_length)

    def _check_size(self) -> None:
        size = self.prompt_size
        if size and size.longest > size.context:
            advice = (
                f"library {self.library.name}@{self.library.version} shows more than this LLM can read; ask "
                "with fewer shots (k_shot) or the nearest ones (nearest_shots), or use a smaller version"
            )
            raise PromptTooLong(size.longest, size.context, advice)

    def _llm_can_be_asked(self) -> bool:
        """Return whether there is an LLM that takes these labels and their prompt."""
        if self.runtime.llm is None:
            return False
        try:
            size = self._size_of(self._prompt_of(self.runtime.llm))
        except PromptError:
            return False
        return size.longest <= size.context

    @cached_property
    def _prompt(self) -> FewShotPrompt | None:
        return None if self.llm is None else self._prompt_of(self.llm)

    def _prompt_of(self, llm: LanguageModel) -> FewShotPrompt:
        from core.prompts.few_shot import FewShotPrompt
        from core.prompts.model_slots import read_model_prompt

        slots = read_model_prompt(llm.directory)
        return FewShotPrompt(llm.vocabulary, self._labels, self._demonstrations, self._settings(), slots)

    @cached_property
    def labeler(self) -> Labeler:
        """The plain labeler: few-shot, or nearest neighbor on tokens."""
        from core.in_context.labelers import NearestNeighborLabeler

        if not asks_llm(self.method):
            return NearestNeighborLabeler(self._labels, self._demonstrations)
        return self._ask_llm(self._labels, self._demonstrations)

    def _ask_llm(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> Labeler:
        from core.in_context.labelers import FewShotLabeler
        from core.in_context.nearest_shots import NearestShotsLabeler

        llm = self.runtime.llm
        assert llm
        arguments = (llm.llama, llm.vocabulary, labels, demonstrations, self._settings())
        shots = self.request.nearest_shots
        return NearestShotsLabeler(*arguments, shots) if shots else FewShotLabeler(*arguments)

    @cached_property
    def all_labelers(self) -> SideBySide:
        """The labelers side by side, with the LLM only if it is to answer."""
        from flows.pipeline.labeling.labelers.side_by_side import SideBySide

        choice, is_plain = self.answering.choice, self.answering.is_plain
        installed = self.installed(few_shot=not is_plain and asks_llm(self.method))
        measured = choice.measured if choice else None
        return SideBySide(self.demonstrations, installed, measured, only_cheap=is_plain)

    def installed(self, *, few_shot: bool) -> Installed:
        """Return what the labelers are built from beside the demonstrations."""
        from core.embeddings.log_mel_model import LOG_MEL
        from core.in_context.choosing.library import Installed

        known = self.runtime.known_embeddings
        return Installed(
            embeddings=tuple(name for name in known if name != LOG_MEL),
            taggers={name: tuple(one.classes) for name, one in known.items() if one.classes},
            few_shot=self._few_shot_probabilities if few_shot else None,
        )

    def _few_shot_probabilities(
        self, labels: Sequence[str], demonstrations: Sequence[Demonstration]
    ) -> ProbabilityLabeler:
        from flows.pipeline.labeling.labelers.side_by_side import Asking

        return Asking(self._ask_llm(labels, [one.clip for one in demonstrations]), labels)

    def load(self) -> None:
        """Load the models and read the demonstrations, before several threads need them."""
        if self.answering.is_plain:
            _ = self.labeler
        _ = self.all_labelers

    def predict(self, clips: Sequence[ClipFeatures]) -> list[ClipLabel | AudioRejected]:
        """Label clips. A clip on which the labeler fails alone is rejected as `failed`."""
        step: ModelStep[ClipFeatures, ClipLabel] = ModelStep(
            "label",
            lambda some: _finite(self._label(some)),
            self.runtime.batch_limits,
            lambda: self._label([self.demonstrations[0].features]),
        )
        self.load()
        with self.runtime.device_lock(), timed("label"):
            return step.run(clips)

    def _label(self, clips: Sequence[ClipFeatures]) -> list[ClipLabel]:
        if not self.answering.is_plain:
            return self.all_labelers.label(self.method, self.answering.calibration, clips, self.bound)
        predictions = self.labeler.label([clip.codes for clip in clips])
        return self.all_labelers.beside(predictions, clips, self.bound)

    @cached_property
    def bound(self) -> UnknownBound | None:
        """The distance from the demonstrations above which a clip is unknown, None if none is.

        Unless the request says, it is that of the choice, if a comparison was made.
        """
        if (coverage := self.request.coverage) == 0:
            return None
        if coverage > 0:
            return self.all_labelers.bound(self.method, coverage)
        choice = self.answering.choice
        if choice is None or choice.measured is None:
            return None
        from core.in_context.choosing.choice import Choice

        return Choice.from_json(choice.measured).unknown

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        from core.prompts.demonstrations import label_set

        return label_set(sorted({clip.label for clip in self._demonstrations}))

    @cached_property
    def _demonstrations(self) -> list[LabeledClip]:
        """The demonstrations of the prompt: all in library order, or `k_shot` of each label."""
        from core.prompts.demonstrations import LabeledClip, select_demonstrations

        codes = self._demonstration_codes
        library = [
            LabeledClip(codes[row.content_sha256], row.label_or_text) for row in self.library.demonstrations
        ]
        if self.request.k_shot == 0:
            return library
        labels = sorted({clip.label for clip in library})
        return select_demonstrations(library, labels, self.request.k_shot)

    @cached_property
    def _demonstration_codes(self) -> dict[bytes, ClipCodes]:
        needs_latent = self.answering.is_known and self.answering.by_latent
        stored = stored_tokens(self.runtime, self.library, with_latent=needs_latent)
        return {content: clip_codes(tokens) for content, tokens in stored.items()}

    @cached_property
    def demonstrations(self) -> list[Demonstration]:
        """The same demonstrations with all that is stored of them."""
        from core.in_context.choosing.library import Demonstration

        features = clip_features(self.runtime, self._demonstration_codes)
        by_codes = {id(one.codes): one for one in features.values()}
        return [Demonstration(by_codes[id(one.codes)], one.label) for one in self._demonstrations]

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
        library = self.library
        decoding = {n: v for n, v in asdict(self.request).items() if n not in NOT_DECODING_FIELDS}
        parts = [
            self.runtime.codec_fingerprint,
            self.llm.fingerprint if self.llm else self.method,
            f"{library.name}@{library.version}",
            self.prompt_hash,
            TASK,
            json.dumps(decoding, sort_keys=True),
        ]
        return "\0".join(
            parts if self.answering.is_plain else [*parts, json.dumps(self.answering.key, sort_keys=True)]
        )


def _finite(answers: Sequence[ClipLabel]) -> Sequence[ClipLabel]:
    """Raise ArithmeticError for answers that no row can hold: another clip's codes may have caused them."""
    if not all(math.isfinite(p) for one in answers for p in (one.margin, *one.probabilities.values())):
        raise ArithmeticError("the model's probabilities are not finite numbers")
    return answers
