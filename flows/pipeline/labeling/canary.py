"""Canaries: clips of known labels that are asked before a night is labelled, and stop it where it errs."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import AudioRejected, PromptError
from db.engine import session_scope
from db.libraries import LibraryDemonstration, get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.labeling.label import TASK, Labelling, clip_codes
from flows.pipeline.libraries.demonstrations import stored_tokens, unseen
from flows.pipeline.runs.counts import Counts
from flows.pipeline.tokenize_clips import tokenize_uris

STAGE = "canaries"


class CanaryFailed(RuntimeError):
    """Too few canaries were answered right."""


@dataclass(frozen=True)
class CanaryRequest:
    """A library of clips that are never shown, and the least share of them that has to be answered right."""

    canary_library: str
    least_canary_accuracy: float


class Canaries:
    """The canaries of a request: asked as the night's clips are, and nothing of it is stored.

    Raises LibraryNotFound, and PromptError for canaries that are demonstrations too, or whose label the
    demonstrations do not know: neither could tell anything.
    """

    def __init__(self, labelling: Labelling, request: CanaryRequest) -> None:
        self._labelling, self.least_accuracy = labelling, request.least_canary_accuracy
        with session_scope(labelling.runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.canary_library))
        self.name = f"{self.library.name}@{self.library.version}"
        if self.library.task != TASK:
            raise PromptError(f"canary library {self.name} is for {self.library.task}, not for labels")
        self._check_held_out()
        self._check_labels()

    def prepare(self, run: RunClaim) -> None:
        """Tokenizes the canaries that this codec has not seen, and makes the prompt."""
        labelling = self._labelling
        labelling.prepare(run)
        _ = labelling.labeler
        waiting = unseen(labelling.runtime, self.library, with_latent=labelling.by_latent)
        tokenize_uris(labelling.runtime, waiting, run)

    def is_prepared(self) -> bool:
        """Whether they can be asked without reading audio."""
        labelling = self._labelling
        waiting = unseen(labelling.runtime, self.library, with_latent=labelling.by_latent)
        return labelling.is_prepared() and not waiting

    def batches(self) -> list[Sequence[LibraryDemonstration]]:
        """The canaries, cut in batches."""
        rows, size = self.library.demonstrations, self._labelling.runtime.settings.batch_size
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def ask_batch(self, batch: Sequence[LibraryDemonstration]) -> Counts:
        """Count how many of a batch were asked and how many answered right; safe to repeat."""
        runtime, labelling = self._labelling.runtime, self._labelling
        stored = stored_tokens(runtime, self.library, with_latent=labelling.by_latent)
        answers = labelling.predict([clip_codes(stored[row.content_sha256]) for row in batch])
        right = sum(
            not isinstance(answer, AudioRejected) and answer.label == row.label_or_text
            for answer, row in zip(answers, batch, strict=True)
        )
        return Counts(asked=len(batch), right=right)

    def check(self, counts: Counts) -> None:
        """Raises CanaryFailed where what the batches counted is under the bound."""
        asked, right = counts["asked"], counts["right"]
        accuracy = right / asked
        if accuracy < self.least_accuracy:
            raise CanaryFailed(
                f"{right} of {asked} canaries of {self.name} were answered right ({accuracy:.0%}), at least "
                f"{self.least_accuracy:.0%} are asked for: nothing was labelled. Look at what changed since "
                f"the last good night: library {self._labelling.request.library}, the models, the canaries"
            )

    def _check_held_out(self) -> None:
        shown, library = self._labelling.demonstrated, self._labelling.request.library
        both = [row.uri for row in self.library.demonstrations if row.content_sha256 in shown]
        if both:
            raise PromptError(
                f"{len(both)} canaries of {self.name} are demonstrations of {library} too: "
                f"{', '.join(both[:5])}; a canary has to be a clip that the prompt does not show"
            )

    def _check_labels(self) -> None:
        known = {row.label_or_text for row in self._labelling.library.demonstrations}
        if others := sorted({row.label_or_text for row in self.library.demonstrations} - known):
            raise PromptError(
                f"canaries of {self.name} are labelled {', '.join(others[:5])}, which is no label of "
                f"{self._labelling.request.library}: its labels are {', '.join(sorted(known)[:10])}"
            )
