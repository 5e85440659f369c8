"""All labelers on the demonstrations of a library: compared to choose one, and side by side on clips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from core.embeddings.log_mel_model import LOG_MEL
from db.labeler_choices import add_first_choice
from flows.pipeline.clips.stored_codes import clip_features
from flows.pipeline.labeling.labelers.answering import Answering, asks_llm, choice_of
from flows.pipeline.labeling.labelers.prompt import LibraryPrompt
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import timed

if TYPE_CHECKING:
    from core.in_context.choosing.choice import Choice
    from core.in_context.choosing.library import Demonstration, Installed, ProbabilityLabeler
    from core.in_context.choosing.unknown import UnknownBound
    from db.runs import RunClaim
    from flows.pipeline.labeling.labelers.side_by_side import SideBySide


class LabelerComparison:
    """The labelers that can answer by the demonstrations of a prompt. Their tokens must be stored.

    coverage: the share of clips of known labels that the bound of `unknown` keeps; below 0, the choice's.
    """

    def __init__(
        self, runtime: Runtime, answering: Answering, prompt: LibraryPrompt, coverage: float
    ) -> None:
        self._runtime, self._answering, self._prompt = runtime, answering, prompt
        self._coverage = coverage

    def measure(self) -> Choice:
        """Compare all labelers on the library's own clips."""
        from core.in_context.choosing.choice import choose

        with self._runtime.device_lock(), timed("choose"):
            return choose(self.demonstrations, self.installed(few_shot=self._prompt.is_readable()))

    def choose(self, run: RunClaim) -> None:
        """Choose the best labeler, unless another run has chosen one."""
        choice = choice_of(self.measure(), "run")
        with run_session(self._runtime, run) as session:
            add_first_choice(session, self._answering.models, choice, run.writes_as)

    @cached_property
    def side_by_side(self) -> SideBySide:
        """The labelers side by side, with the LLM only if it is to answer."""
        from flows.pipeline.labeling.labelers.side_by_side import SideBySide

        choice, is_plain = self._answering.choice, self._answering.is_plain
        installed = self.installed(few_shot=not is_plain and asks_llm(self._answering.method))
        measured = choice.measured if choice else None
        return SideBySide(self.demonstrations, installed, measured, only_cheap=is_plain)

    @cached_property
    def bound(self) -> UnknownBound | None:
        """The distance from the demonstrations above which a clip is unknown, None if none is.

        Unless the request says, it is that of the choice, if a comparison was made.
        """
        if self._coverage == 0:
            return None
        if self._coverage > 0:
            return self.side_by_side.bound(self._answering.method, self._coverage)
        choice = self._answering.choice
        if choice is None or choice.measured is None:
            return None
        from core.in_context.choosing.choice import Choice

        return Choice.from_json(choice.measured).unknown

    @cached_property
    def demonstrations(self) -> list[Demonstration]:
        """The demonstrations of the prompt with all that is stored of them."""
        from core.in_context.choosing.library import Demonstration

        features = clip_features(self._runtime, self._prompt.codes)
        by_codes = {id(one.codes): one for one in features.values()}
        return [Demonstration(by_codes[id(one.codes)], one.label) for one in self._prompt.demonstrations]

    def installed(self, *, few_shot: bool) -> Installed:
        """Return what the labelers are built from beside the demonstrations."""
        from core.in_context.choosing.library import Installed

        known = self._runtime.known_embeddings
        return Installed(
            embeddings=tuple(name for name in known if name != LOG_MEL),
            taggers={name: tuple(one.classes) for name, one in known.items() if one.classes},
            few_shot=self._few_shot if few_shot else None,
        )

    def _few_shot(self, labels: Sequence[str], demonstrations: Sequence[Demonstration]) -> ProbabilityLabeler:
        from flows.pipeline.labeling.labelers.side_by_side import Asking

        labeler = self._prompt.few_shot_labeler(labels, [one.clip for one in demonstrations])
        return Asking(labeler, labels)
