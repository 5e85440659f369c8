"""Labels of clips: one answer per content and work key, by the demonstrations of a library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy.orm import Session

from core.errors import AudioRejected
from db.clips import ClipWithTokens, Selection, clip_uris, clips_with_latents, clips_with_tokens
from db.engine import session_scope
from db.events import save_events
from db.predictions import (
    Answer,
    NewPrediction,
    existing_work_keys,
    get_answers,
    get_margins,
    save_predictions,
    set_max_distance,
    set_min_margin,
)
from db.runs import RunClaim
from db.tokens import get_token_sequences
from flows.pipeline.clips.stored_codes import clip_features, quarantine, readable_codes
from flows.pipeline.labeling.events.detection import EventDetection
from flows.pipeline.labeling.exports.row import LabelRow
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import timed

if TYPE_CHECKING:
    from flows.pipeline.labeling.labelers.side_by_side import ClipLabel

AnswerStatus = Literal["labeled", "uncertain", "unknown"]

CLIPS_PER_QUERY = 1_000
NEIGHBOR_BASELINES = ("nearest", "nearest_latent")
"""Baselines with a probability of their own; the second one only for clips with latents."""


class Labeling:
    """The stored answers to a request, and the writing of those that are missing."""

    def __init__(self, runtime: Runtime, request: LabelRequest) -> None:
        self.runtime = runtime
        self.setup = LabelingSetup(runtime, request)
        self.detection = EventDetection(self.setup) if request.events else None

    def batches(self, selection: Selection) -> list[Sequence[bytes]]:
        """Return batches of contents that lack a standing answer, or events, and do not wait for replay."""
        with session_scope(self.runtime.engine) as session:
            contents = list(self._work_keys(session, selection, TASK).values())
        labeled = self._labeled(contents)
        unheard = self.detection.missing(selection) if self.detection else set()
        todo = [content for content in contents if content not in labeled or content in unheard]
        return batches_of(todo, self.runtime.settings.batch_size)

    @property
    def models(self) -> tuple[list[int], list[int]]:
        """The embedding models whose embeddings, and whose windows, clips need."""
        return self.setup.answering.embedding_models, self.setup.window_models

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt, and choose the labeler if none is chosen yet."""
        self.setup.prepare(run)

    def load(self) -> None:
        """Load the models and read the demonstrations, before several threads need them."""
        self.setup.load()
        if self.detection:
            self.detection.load()

    def answered(self, contents: Iterable[bytes]) -> set[bytes]:
        """Return the contents that have a standing answer to this request, and events if it asks for them."""
        labeled = self._labeled(contents)
        return self.detection.heard(labeled) if self.detection else labeled

    def _labeled(self, contents: Iterable[bytes]) -> set[bytes]:
        keys = {self.setup.work_key(content): content for content in contents}
        with session_scope(self.runtime.engine) as session:
            return {keys[key] for key in existing_work_keys(session, keys)}

    def label_batch(self, contents: Sequence[bytes], run: RunClaim) -> Counts:
        """Label a batch, hear its events if asked to, and write it in one transaction; safe to repeat.

        A content whose stored tokens cannot be read, or on which the labeler fails alone, is quarantined.
        """
        heard = self.detection.hear_missing(contents) if self.detection else []
        if self.detection:  # a content may lack only its events
            answered = self._labeled(contents)
            contents = [content for content in contents if content not in answered]
        with session_scope(self.runtime.engine) as session:
            stored = get_token_sequences(session, self.runtime.codec_id, contents)
        codes, rejected = readable_codes(stored)
        features = clip_features(self.runtime, codes)
        rows = []
        for content, outcome in zip(features, self.setup.predict(list(features.values())), strict=True):
            if isinstance(outcome, AudioRejected):
                rejected[content] = outcome
            else:
                rows.append(self._row(content, outcome))
        with timed("write"), run_session(self.runtime, run) as session:
            labeled = save_predictions(session, run.writes_as, rows)
            with_events = save_events(session, run.writes_as, heard)
            quarantined = quarantine(session, TASK, run.writes_as, rejected)
        uncertain = sum(row.margin < row.min_margin for row in rows)
        unknown = sum(row.is_unknown for row in rows)
        counts = Counts(labeled=labeled, uncertain=uncertain, unknown=unknown) + quarantined
        return counts + Counts(heard=with_events) if self.detection else counts

    def _row(self, content: bytes, answer: ClipLabel) -> NewPrediction:
        setup, runtime = self.setup, self.runtime
        answering, bound = setup.answering, setup.comparison.bound
        return NewPrediction(
            work_key=setup.work_key(content),
            content_sha256=content,
            task=TASK,
            demonstration_set_id=setup.library.id,
            codec_id=runtime.codec_id,
            llm_id=answering.llm.id if answering.llm else None,
            labeler=answering.method,
            label=answer.label,
            probabilities=answer.probabilities,
            margin=answer.margin,
            min_margin=setup.request.min_margin,
            baselines=_baselines(answer),
            is_demonstration=content in setup.demonstrated,
            provenance={"device": runtime.device, "prompt_hash": setup.prompt.hash},
            seed=0,
            calibration=answering.calibration,
            raw_probabilities=answer.raw_probabilities,
            distance=answer.distance,
            max_distance=bound.distance if bound else None,
        )

    def rows(self, session: Session, selection: Selection) -> Iterator[LabelRow]:
        """Yield the answers to this request as exported rows, in uri order, their status by its margin.

        They are read in parts, since all answers may not fit in memory.
        """
        for some in query_parts(clip_uris(session, selection)):
            answers = get_answers(session, set(some), self._work_keys(session, set(some)))
            yield from map(self._exported, answers)

    def _exported(self, answer: Answer) -> LabelRow:
        setup, settings = self.setup, self.runtime.settings
        return LabelRow(
            uri=answer.uri,
            content_sha256=answer.content_sha256.hex(),
            task=answer.task,
            label=answer.label,
            probability=answer.probability,
            margin=answer.margin,
            status=self.status(answer),
            chance=answer.baselines["chance"],
            majority_label=answer.baselines["majority"],
            nearest_label=answer.baselines["nearest"],
            nearest_latent_label=answer.baselines.get("nearest_latent"),
            probabilities=answer.probabilities,
            is_demonstration=answer.is_demonstration,
            library=setup.library.name,
            version=setup.library.version,
            labeler=answer.labeler,
            llm=settings.llm if setup.answering.llm else None,
            codec=settings.codec,
            run=str(answer.run_id),
            created_at=answer.created_at,
            raw_probabilities=answer.raw_probabilities,
        )

    def status(self, answer: Answer) -> AnswerStatus:
        """Return whether an answer is near enough, and its margin large enough, for the request."""
        bound = self.setup.comparison.bound
        if bound and answer.distance is not None and answer.distance > bound.distance:
            return "unknown"
        return "uncertain" if answer.margin < self.setup.request.min_margin else "labeled"

    def update_bounds(self, selection: Selection, run: RunClaim) -> None:
        """Let the analysts' view judge earlier answers by this request's margin and distance."""
        bound = self.setup.comparison.bound
        with run_session(self.runtime, run) as session:
            keys = self._work_keys(session, selection)
            set_min_margin(session, keys, self.setup.request.min_margin)
            set_max_distance(session, keys, bound.distance if bound else None)

    def answers(self, selection: Selection) -> list[Answer]:
        """Return the standing answers to this request for the selected clips, in uri order."""
        with session_scope(self.runtime.engine) as session:
            return get_answers(session, selection, self._work_keys(session, selection))

    def margins(self, selection: Selection) -> dict[str, float]:
        """Return the margins of these answers by uri, to choose a few among many without reading them all."""
        with session_scope(self.runtime.engine) as session:
            clips = self._usable_clips(session, selection)
            keys = {clip.uri: self.setup.work_key(clip.content_sha256) for clip in clips}
            found = get_margins(session, set(keys.values()))
        return {uri: found[key] for uri, key in keys.items() if key in found}

    def _work_keys(self, session: Session, selection: Selection, *stages: str) -> dict[bytes, bytes]:
        """Return work key -> content of the selected clips that reading, and these stages, can use."""
        clips = self._usable_clips(session, selection, *stages)
        contents = dict.fromkeys(clip.content_sha256 for clip in clips)
        return {self.setup.work_key(content): content for content in contents}

    def _usable_clips(self, session: Session, selection: Selection, *stages: str) -> list[ClipWithTokens]:
        """Return the current clips with tokens, and what else the labeler compares."""
        answering, codec_id = self.setup.answering, self.runtime.codec_id
        if not answering.by_latent:
            return clips_with_tokens(session, selection, codec_id, *stages)
        models = answering.embedding_models
        return clips_with_latents(session, selection, codec_id, *stages, embedding_models=models)


def query_parts(uris: Sequence[str]) -> list[Sequence[str]]:
    """Return the uris in their order, as many at a time as are read at once."""
    return batches_of(uris, CLIPS_PER_QUERY)


def _baselines(answer: ClipLabel) -> dict[str, Any]:
    """Return the guesses of the baselines, flat, as the analysts' view reads them, and of each labeler."""
    guesses = answer.baselines
    flat: dict[str, Any] = {
        "chance": guesses["chance"]["probability"],
        "majority": guesses["majority"]["label"],
    }
    for name in filter(guesses.__contains__, NEIGHBOR_BASELINES):
        flat[name] = guesses[name]["label"]
        flat[f"{name}_probability"] = guesses[name]["probability"]
    return {**flat, "labelers": dict(answer.by_labeler)}
