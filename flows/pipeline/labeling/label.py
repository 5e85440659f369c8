"""From tokens to labels: demonstrations of a library in the prompt, one answer per content and work key."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import AudioRejected, BadCodes, PromptError, PromptTooLong
from db.clips import LABEL_STAGE, ClipWithTokens, Selection, clips_with_latents, clips_with_tokens
from db.engine import session_scope
from db.libraries import get_library
from db.library_names import split_library_name
from db.predictions import (
    Answer,
    NewPrediction,
    existing_work_keys,
    get_answers,
    get_margins,
    save_predictions,
    set_min_margin,
)
from db.quarantine import quarantine_contents
from db.runs import RunClaim
from db.tokens import TokensOfContent, get_token_sequences
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.row import LabelRow
from flows.pipeline.libraries.demonstrations import stored_tokens, unseen
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.runtime import Runtime, model_directory
from flows.pipeline.runtime.telemetry import timed
from flows.pipeline.tokenize_clips import tokenize_uris

if TYPE_CHECKING:
    from core.in_context.labelers import Labeler, Prediction
    from core.prompts.demonstrations import LabeledClip
    from core.prompts.few_shot import FewShotPrompt, FewShotSettings
    from core.tokens.clip_codes import ClipCodes

TASK = LABEL_STAGE
NEIGHBOURS = ("nearest", "nearest_latent")
"""Baselines with a probability of their own; by latents only where they are known."""
NOT_DECODING = {"library", "min_margin", "nearest_shots"}
"""Fields of a request that stand in the key otherwise, the library and what the prompt hash covers, or that
change no answer: the bound is for readers."""


@dataclass(frozen=True)
class PromptSize:
    """The most token ids that a prompt can take, and how many the LLM holds."""

    longest: int
    context: int


class Labelling:
    """A request made ready once per process: library, prompt and models; then batch after batch."""

    def __init__(self, runtime: Runtime, request: LabelRequest) -> None:
        self.runtime = runtime
        self.request = request
        with session_scope(runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.library))
        if self.library.task != TASK:
            raise PromptError(f"library {self.library.name} is for {self.library.task}, not for labels")
        self.method = "nearest-neighbour" if runtime.settings.llm is None else "few-shot"
        self.demonstrated = {row.content_sha256 for row in self.library.demonstrations}

    @property
    def by_latent(self) -> bool:
        """Whether each clip is shown demonstrations of its own, so that both need pooled latents."""
        return self.request.nearest_shots > 0 and self.method == "few-shot"

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt ready. No model is loaded for it, except a codec for demonstrations new to it."""
        self.tokenize_demonstrations(run)
        _ = self.prompt_hash

    @cached_property
    def prompt_hash(self) -> str:
        """Name the prompt as the labeler does, without the models; raises what the labeler would raise."""
        from core.in_context.prompt_hashes import nearest_neighbor_hash, nearest_shots_hash
        from core.prompts.demonstrations import check_demonstrated, select_demonstrations

        if self._prompt is None:
            check_demonstrated(self._labels, self._shown)
            return nearest_neighbor_hash(self._shown)
        self._check_size()
        if not (shots := self.request.nearest_shots):
            return self._prompt.prompt_hash
        select_demonstrations(self._shown, self._labels, shots)
        return nearest_shots_hash(self._prompt, self._shown, shots)

    @cached_property
    def prompt_size(self) -> PromptSize | None:
        """How much of the LLM's context the prompt takes; None where no LLM is set."""
        from core.llama.files import read_size

        if self._prompt is None or self.runtime.settings.llm is None:
            return None
        shots = self.request.nearest_shots
        longest = self._prompt.longest_with(shots) if shots else self._prompt.longest
        return PromptSize(longest, read_size(model_directory(self.runtime.settings.llm)).context_length)

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

        if self.runtime.settings.llm is None:
            return None
        model = read_model_prompt(model_directory(self.runtime.settings.llm))
        return FewShotPrompt(self.runtime.vocabulary, self._labels, self._shown, self._settings(), model)

    def tokenize_demonstrations(self, run: RunClaim) -> None:
        """Tokenizes those that this codec has not seen: a library outlives its first codec."""
        waiting = unseen(self.runtime, self.library, with_latent=self.by_latent)
        tokenize_uris(self.runtime, waiting, run)

    def is_prepared(self) -> bool:
        """Whether the prompt can be made without reading audio."""
        return not unseen(self.runtime, self.library, with_latent=self.by_latent)

    @cached_property
    def labeler(self) -> Labeler:
        """Few-shot in the LLM, or nearest neighbour on tokens where no LLM is set."""
        from core.in_context.labelers import FewShotLabeler, NearestNeighborLabeler
        from core.in_context.nearest_shots import NearestShotsLabeler

        if self.runtime.llama is None:
            return NearestNeighborLabeler(self._labels, self._shown)
        asked = (self.runtime.llama, self.runtime.vocabulary, self._labels, self._shown, self._settings())
        shots = self.request.nearest_shots
        return NearestShotsLabeler(*asked, shots) if shots else FewShotLabeler(*asked)

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        from core.prompts.demonstrations import label_set

        return label_set(sorted({clip.label for clip in self._shown}))

    @cached_property
    def _shown(self) -> list[LabeledClip]:
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
        """Names the work of answering one content: equal keys have equal answers (DESIGN: work key)."""
        return hashlib.sha256(f"{content_sha256.hex()}\0{self._asked}".encode()).digest()

    @cached_property
    def _asked(self) -> str:
        """What all contents have in common in their work keys."""
        runtime, library = self.runtime, self.library
        decoding = {n: v for n, v in asdict(self.request).items() if n not in NOT_DECODING}
        parts = [
            runtime.codec_fingerprint,
            runtime.llm_fingerprint or self.method,
            f"{library.name}@{library.version}",
            self.prompt_hash,
            TASK,
            json.dumps(decoding, sort_keys=True),
        ]
        return "\0".join(parts)

    def batches(self, selection: Selection) -> list[list[bytes]]:
        """Contents without a standing answer to this request that do not wait for replay, cut in batches."""
        with session_scope(self.runtime.engine) as session:
            contents = list(self._work_keys(session, selection, TASK).values())
        done = self.answered(contents)
        todo = [content for content in contents if content not in done]
        size = self.runtime.settings.batch_size
        return [todo[start : start + size] for start in range(0, len(todo), size)]

    def answered(self, contents: Iterable[bytes]) -> set[bytes]:
        """Those of the contents that have a standing answer to this request."""
        keys = {self.work_key(content): content for content in contents}
        with session_scope(self.runtime.engine) as session:
            return {keys[key] for key in existing_work_keys(session, keys)}

    def label_batch(self, contents: Sequence[bytes], run: RunClaim) -> Counts:
        """Answer a batch and write it in one transaction; safe to repeat.

        A content whose stored tokens cannot be read, or on which the labeler fails alone, is quarantined.
        """
        with session_scope(self.runtime.engine) as session:
            stored = get_token_sequences(session, self.runtime.codec_id, contents)
        asked, rejected = readable_codes(stored)
        outcomes = self.predict(list(asked.values()))
        rows, failed = [], {}
        for content, outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, AudioRejected):
                failed[content] = outcome
            else:
                rows.append(self._row(content, outcome))
        with timed("write"), run_session(self.runtime, run) as session:
            written = save_predictions(session, run.writes_as, rows)
            quarantined = quarantine(session, TASK, run.writes_as, rejected | failed)
        uncertain = sum(row.margin < row.min_margin for row in rows)
        return Counts(labeled=written, uncertain=uncertain) + quarantined

    def predict(self, clips: Sequence[ClipCodes]) -> list[Prediction | AudioRejected]:
        """Ask the labeler for each clip; one that it fails on alone is rejected as `failed`."""
        labeler = self.labeler
        step: ModelStep[ClipCodes, Prediction] = ModelStep(
            "label",
            lambda some: _finite(labeler.label(some)),
            self.runtime.batch_limits,
            lambda: labeler.label([self._shown[0].codes]),
        )
        with self.runtime.device_lock(), timed("label"):
            return step.run(clips)

    def _row(self, content: bytes, prediction: Prediction) -> NewPrediction:
        return NewPrediction(
            work_key=self.work_key(content),
            content_sha256=content,
            task=TASK,
            demonstration_set_id=self.library.id,
            codec_id=self.runtime.codec_id,
            llm_id=self.runtime.llm_id,
            labeler=self.method,
            label=prediction.label,
            probabilities=prediction.probabilities,
            margin=prediction.margin,
            min_margin=self.request.min_margin,
            baselines=_baselines(prediction),
            is_demonstration=content in self.demonstrated,
            provenance={"device": self.runtime.device, "prompt_hash": self.prompt_hash},
            seed=0,
        )

    def rows(self, session: Session, selection: Selection) -> Iterator[LabelRow]:
        """The answers to this request as exported rows, their status by this request's bound."""
        runtime, library = self.runtime, self.library
        for answer in get_answers(session, selection, self._work_keys(session, selection)):
            yield LabelRow(
                uri=answer.uri,
                content_sha256=answer.content_sha256.hex(),
                task=answer.task,
                label=answer.label,
                probability=answer.probability,
                margin=answer.margin,
                status="uncertain" if answer.margin < self.request.min_margin else "labeled",
                chance=answer.baselines["chance"],
                majority_label=answer.baselines["majority"],
                nearest_label=answer.baselines["nearest"],
                nearest_latent_label=answer.baselines.get("nearest_latent"),
                probabilities=answer.probabilities,
                is_demonstration=answer.is_demonstration,
                library=library.name,
                version=library.version,
                labeler=answer.labeler,
                llm=runtime.settings.llm,
                codec=runtime.settings.codec,
                run=str(answer.run_id),
                created_at=answer.created_at,
            )

    def state_bound(self, selection: Selection, run: RunClaim) -> None:
        """Lets the analysts' view judge earlier answers by the bound that is asked now."""
        with run_session(self.runtime, run) as session:
            set_min_margin(session, self._work_keys(session, selection), self.request.min_margin)

    def _work_keys(self, session: Session, selection: Selection, *stages: str) -> dict[bytes, bytes]:
        """Work key -> content of the selected current clips that reading, and these stages, can use."""
        contents = dict.fromkeys(clip.content_sha256 for clip in self._askable(session, selection, *stages))
        return {self.work_key(content): content for content in contents}

    def _askable(self, session: Session, selection: Selection, *stages: str) -> list[ClipWithTokens]:
        """Where demonstrations are chosen by latents, a clip with tokens from before there were any waits."""
        askable = clips_with_latents if self.by_latent else clips_with_tokens
        return askable(session, selection, self.runtime.codec_id, *stages)

    def answers(self, selection: Selection) -> list[Answer]:
        """The standing answers to this request, for the clips of the selection, in uri order."""
        with session_scope(self.runtime.engine) as session:
            return get_answers(session, selection, self._work_keys(session, selection))

    def margins(self, selection: Selection) -> dict[str, float]:
        """The margin of each of these answers by uri: all that it takes to choose a few among many."""
        with session_scope(self.runtime.engine) as session:
            clips = self._askable(session, selection)
            keys = {clip.uri: self.work_key(clip.content_sha256) for clip in clips}
            found = get_margins(session, set(keys.values()))
        return {uri: found[key] for uri, key in keys.items() if key in found}


def _baselines(prediction: Prediction) -> dict[str, str | float]:
    """What the free baselines say of the same clip, flat, as the analysts' view reads it."""
    guesses = prediction.baselines
    said: dict[str, str | float] = {
        "chance": guesses["chance"]["probability"],
        "majority": guesses["majority"]["label"],
    }
    for name in filter(guesses.__contains__, NEIGHBOURS):
        said[name] = guesses[name]["label"]
        said[f"{name}_probability"] = guesses[name]["probability"]
    return said


def _finite(predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """Raise ArithmeticError for answers that no row can hold: one clip's may come of another clip's codes."""
    if not all(math.isfinite(p) for one in predictions for p in (one.margin, *one.probabilities.values())):
        raise ArithmeticError("the model's probabilities are not finite numbers")
    return predictions


def readable_codes(
    stored: Mapping[bytes, TokensOfContent],
) -> tuple[dict[bytes, ClipCodes], dict[bytes, AudioRejected]]:
    """Return the codes by content, and why those of the others cannot be used.

    Earlier versions stored latents that are not finite.
    """
    readable, rejected = {}, {}
    for content, tokens in stored.items():
        try:
            readable[content] = clip_codes(tokens)
        except BadCodes as error:
            rejected[content] = AudioRejected("not_finite", str(error))
    return readable, rejected


def quarantine(session: Session, stage: str, run_id: UUID, rejected: Mapping[bytes, AudioRejected]) -> Counts:
    """Set the current clips of these contents aside at a stage."""
    reasons = {content: (one.reason, one.message) for content, one in rejected.items()}
    counted = quarantine_contents(session, stage, run_id, reasons)
    return Counts(quarantined=counted.total()) + Counts(
        {f"quarantined:{reason}": number for reason, number in counted.items()}
    )


def clip_codes(stored: TokensOfContent) -> ClipCodes:
    """Stored arrays as the labellers take them."""
    import numpy as np

    from core.tokens.clip_codes import ClipCodes

    semantic, acoustic1, acoustic2 = (np.array(layer, np.int16) for layer in stored.codes)
    latent = None if stored.latent is None else np.array(stored.latent, np.float16)
    return ClipCodes(semantic, acoustic1, acoustic2, np.array(stored.levels, np.int16), latent)
