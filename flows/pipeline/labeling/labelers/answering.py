"""Which labeler answers a request: a named one, or the one that is chosen for the library version."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.embeddings.log_mel_model import LOG_MEL
from core.errors import PromptError
from core.in_context.choosing.labelers import (
    CLASS_MEAN,
    FEW_SHOT,
    LOGISTIC,
    NEAREST_LATENTS,
    NEAREST_TOKENS,
    ZERO_SHOT,
)
from core.in_context.choosing.library import JOINED, LATENTS
from core.in_context.choosing.mixtures import MIXTURE, WITH_EMBEDDINGS, WITH_FEW_SHOT
from db.engine import session_scope
from db.labeler_choices import ChosenBy, StoredChoice, current_choice
from db.libraries import LibraryVersion
from db.promotions import ModelSet
from flows.pipeline.labeling.request import AUTO, DEFAULT, LabelRequest
from flows.pipeline.runtime.resources import KnownEmbedding, Runtime

if TYPE_CHECKING:
    from core.in_context.choosing.choice import Choice
    from flows.pipeline.runtime.language_model import LanguageModel

NEAREST_NEIGHBOR = "nearest-neighbour"
"""Nearest tokens, as they were called when they were the only labeler without an LLM."""
PLAIN = (FEW_SHOT, NEAREST_NEIGHBOR)
"""Labelers that answered before there were others. Uncalibrated, they keep their work keys."""
LABELERS_VERSION = 1
"""Part of the work keys of all other labelers: a change of their numbers is new work."""


class LabelerNotChosen(LookupError):
    """No labeler is chosen for a library version yet."""

    def __init__(self, library: LibraryVersion) -> None:
        super().__init__(
            f"no labeler is chosen for {library.name}@{library.version} yet: the first run that labels by it "
            f"chooses one, or wordwave choose-labeler {library.name}@{library.version} auto"
        )


def asks_llm(name: str) -> bool:
    """Return whether a labeler asks a language model."""
    return name in (FEW_SHOT, WITH_FEW_SHOT)


def compared_embeddings(name: str, known: Collection[str]) -> set[str]:
    """Return the embeddings that a labeler compares. Raises PromptError for a name that is no labeler's."""
    installed = set(known) - {LOG_MEL}
    free = {LOG_MEL} & set(known)
    if name in (FEW_SHOT, NEAREST_TOKENS, NEAREST_LATENTS, NEAREST_NEIGHBOR):
        return set()
    if name in (MIXTURE, WITH_FEW_SHOT, WITH_EMBEDDINGS):
        return free | (installed if name == WITH_EMBEDDINGS else set())
    for way in (CLASS_MEAN, LOGISTIC, ZERO_SHOT):
        if name.startswith(f"{way} "):
            compared = name.removeprefix(f"{way} ")
            return installed if compared == JOINED else {compared} - {LATENTS}
    raise PromptError(
        f"there is no labeler {name!r}: there are {FEW_SHOT}, {NEAREST_NEIGHBOR}, {NEAREST_LATENTS}, "
        f"{MIXTURE}, {WITH_FEW_SHOT}, {WITH_EMBEDDINGS}, and {CLASS_MEAN}, {LOGISTIC} and {ZERO_SHOT} "
        f"with {LATENTS}, {JOINED} or an embedding ({', '.join(sorted(known))})"
    )


def choice_of(measured: Choice, chosen_by: ChosenBy) -> StoredChoice:
    """Return the choice of the best labeler of a comparison."""
    return named_choice(measured.name, measured.as_json(), measured.reason, chosen_by)


def named_choice(
    name: str, measured: Mapping[str, Any] | None, reason: str, chosen_by: ChosenBy
) -> StoredChoice:
    """Return the choice of a labeler by name, calibrated if the comparison has it."""
    rows = {row["name"]: row for row in measured["candidates"]} if measured else {}
    calibration = rows[name]["calibration"] if name in rows else None
    return StoredChoice(name, calibration, reason, measured, chosen_by)


class Answering:
    """The labeler of a request for a library version. A choice that was read counts until the end."""

    def __init__(
        self, runtime: Runtime, request: LabelRequest, library: LibraryVersion, choice: StoredChoice | None
    ) -> None:
        self._runtime, self._request, self._library = runtime, request, library
        self._given, self._choice = choice, choice

    @property
    def models(self) -> ModelSet:
        """The library version and the models of the settings, for which a labeler is chosen."""
        runtime = self._runtime
        return ModelSet(self._library.id, runtime.codec_id, runtime.llm.id if runtime.llm else None)

    @cached_property
    def is_automatic(self) -> bool:
        """Whether the labeler that is chosen for the library version answers.

        By default it does where the user names no LLM, and where a person chose.
        """
        if self._given:
            return True
        if self._request.labeler != DEFAULT:
            return self._request.labeler == AUTO
        choice = self._read_choice()
        return not self._runtime.settings.names_llm or (choice is not None and choice.chosen_by == "person")

    @property
    def choice(self) -> StoredChoice | None:
        """The choice that counts for this request from when it was first read; None if there is none yet."""
        if self._choice is None and self.is_automatic:
            self._choice = self._read_choice()
        return self._choice

    def _read_choice(self) -> StoredChoice | None:
        llm = self._runtime.llm
        if llm and not llm.is_registered:
            return None  # nothing can be chosen for it yet, and a preview writes no row
        with session_scope(self._runtime.engine) as session:
            return current_choice(session, self.models)

    @property
    def is_known(self) -> bool:
        """Whether it is decided which labeler answers."""
        return not self.is_automatic or self.choice is not None

    @property
    def method(self) -> str:
        """The name of the labeler that answers. Raises LabelerNotChosen before the first run of auto."""
        if self.is_automatic:
            if self.choice is None:
                raise LabelerNotChosen(self._library)
            return self.choice.labeler
        if self._request.labeler != DEFAULT:
            return self._request.labeler
        return NEAREST_NEIGHBOR if self._runtime.llm is None else FEW_SHOT

    @property
    def llm(self) -> LanguageModel | None:
        """The LLM that the labeler asks, None if it asks none. Raises PromptError if it is not set."""
        if not asks_llm(self.method):
            return None
        if self._runtime.llm is None:
            raise PromptError(f"the labeler {self.method} asks an LLM: let WORDWAVE_LLM name one")
        return self._runtime.llm

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """The calibration of the answers' probabilities, None if they stay as they are."""
        return self.choice.calibration if self.choice else None

    @property
    def is_plain(self) -> bool:
        """Whether answers are those of before there were other labelers than two."""
        return self.calibration is None and self.method in PLAIN

    @property
    def by_latent(self) -> bool:
        """Whether clips and demonstrations need pooled latents."""
        return not self.is_plain or (self._request.nearest_shots > 0 and self.method == FEW_SHOT)

    @property
    def embeddings(self) -> dict[str, KnownEmbedding]:
        """The embeddings by name that clips need. Raises PromptError for one that is not installed."""
        if self.is_plain:
            return {}
        bound = self.choice.measured["unknown"] if self.choice and self.choice.measured else None
        return self._compared | self._known(bound["representation"]["embeddings"] if bound else ())

    @property
    def _compared(self) -> dict[str, KnownEmbedding]:
        return self._known(compared_embeddings(self.method, self._runtime.known_embeddings))

    @property
    def embedding_models(self) -> list[int]:
        """The rows of these embeddings' models."""
        return [one.id for one in self.embeddings.values()]

    def _known(self, names: Collection[str]) -> dict[str, KnownEmbedding]:
        known = self._runtime.known_embeddings
        if missing := sorted(set(names) - known.keys()):
            raise PromptError(
                f"the labeler {self.method} compares {', '.join(missing)}, which is not installed: let "
                "WORDWAVE_EMBEDDINGS name it, or choose another labeler with wordwave choose-labeler"
            )
        return {name: one for name, one in known.items() if name in names}

    @property
    def key(self) -> dict[str, Any]:
        """The part of the work keys that names a labeler, what it compares and how it is calibrated."""
        return {
            "labeler": self.method,
            "version": LABELERS_VERSION,
            "embeddings": {name: one.fingerprint for name, one in self._compared.items()},
            "calibration": self.calibration,
        }
