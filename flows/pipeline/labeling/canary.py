"""Canaries: clips of known labels. A night that labels too many of them wrong stops before its own clips."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import AudioRejected, PromptError
from db.engine import session_scope
from db.libraries import LibraryDemonstration, get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.clips.stored_codes import clip_codes, clip_features
from flows.pipeline.clips.tokenize_clips import tokenize_uris
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.libraries.demonstrations import missing_uris, stored_tokens
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runs.counts import Counts

STAGE = "canaries"


class CanaryFailed(RuntimeError):
    """The labeler got too few canaries right."""


@dataclass(frozen=True)
class CanaryRequest:
    """A library of clips that no prompt shows, and the share of them that must be labeled right."""

    canary_library: str
    least_canary_accuracy: float


class Canaries:
    """The canaries of a request, labeled as the night's clips are. Their answers are not stored.

    Raises LibraryNotFound, and PromptError for canaries that are demonstrations too, or whose label no
    demonstration has: these could not fail, or not pass.
    """

    def __init__(self, setup: LabelingSetup, request: CanaryRequest) -> None:
        self._setup, self.least_accuracy = setup, request.least_canary_accuracy
        with session_scope(setup.runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.canary_library))
        self.name = f"{self.library.name}@{self.library.version}"
        if self.library.task != TASK:
            raise PromptError(f"canary library {self.name} is for {self.library.task}, not for labels")
        self._check_held_out()
        self._check_labels()

    def prepare(self, run: RunClaim) -> None:
        """Make the prompt, load the labeler and tokenize canaries that have no tokens of this codec."""
        self._setup.prepare(run)
        self._setup.load()
        tokenize_uris(self._setup.runtime, self._waiting(), run, self._setup.answering.embedding_models)

    def is_prepared(self) -> bool:
        """Return whether the canaries can be labeled without reading audio."""
        return self._setup.is_prepared() and not self._waiting()

    def _waiting(self) -> set[str]:
        answering = self._setup.answering
        return missing_uris(
            self._setup.runtime,
            self.library,
            with_latent=answering.by_latent,
            embedding_models=answering.embedding_models,
        )

    def batches(self) -> list[Sequence[LibraryDemonstration]]:
        """Return the canaries in batches."""
        return batches_of(self.library.demonstrations, self._setup.runtime.settings.batch_size)

    def ask_batch(self, batch: Sequence[LibraryDemonstration]) -> Counts:
        """Label a batch and count the right answers; safe to repeat."""
        setup = self._setup
        stored = stored_tokens(setup.runtime, self.library, with_latent=setup.answering.by_latent)
        codes = {row.content_sha256: clip_codes(stored[row.content_sha256]) for row in batch}
        features = clip_features(setup.runtime, codes)
        answers = setup.predict([features[row.content_sha256] for row in batch])
        right = sum(
            not isinstance(answer, AudioRejected) and answer.label == row.label_or_text
            for answer, row in zip(answers, batch, strict=True)
        )
        return Counts(asked=len(batch), right=right)

    def check(self, counts: Counts) -> None:
        """Raise CanaryFailed if the accuracy over all batches is too low."""
        asked, right = counts["asked"], counts["right"]
        accuracy = right / asked
        if accuracy < self.least_accuracy:
            raise CanaryFailed(
                f"{right} of {asked} canaries of {self.name} were answered right ({accuracy:.0%}), at least "
                f"{self.least_accuracy:.0%} are required: nothing was labeled. Look at what changed since "
                f"the last good night: library {self._setup.request.library}, the models, the canaries"
            )

    def _check_held_out(self) -> None:
        demonstrated, library = self._setup.demonstrated, self._setup.request.library
        both = [row.uri for row in self.library.demonstrations if row.content_sha256 in demonstrated]
        if both:
            raise PromptError(
                f"{len(both)} canaries of {self.name} are demonstrations of {library} too: "
                f"{', '.join(both[:5])}; a canary must be a clip that is not in the prompt"
            )

    def _check_labels(self) -> None:
        known = {row.label_or_text for row in self._setup.library.demonstrations}
        if others := sorted({row.label_or_text for row in self.library.demonstrations} - known):
            raise PromptError(
                f"canaries of {self.name} have labels that {self._setup.request.library} does not know: "
                f"{', '.join(others[:5])}; its labels are {', '.join(sorted(known)[:10])}"
            )
