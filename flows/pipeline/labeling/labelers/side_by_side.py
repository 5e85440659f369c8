"""All labelers side by side: the answers of one of them, and what the others say of the same clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.embeddings.log_mel_model import LOG_MEL
from core.errors import PromptError
from core.in_context.baselines import Baselines, FloatArray, Guess, best_guess
from core.in_context.calibration import Calibration
from core.in_context.choosing.choice import Choice, compared_by
from core.in_context.choosing.labelers import (
    NEAREST_LATENTS,
    NEAREST_TOKENS,
    build_labelers,
    labeler_names,
    representations,
)
from core.in_context.choosing.library import LATENTS, Demonstration, Installed
from core.in_context.choosing.mixtures import mixtures, with_mixtures
from core.in_context.choosing.unknown import UnknownBound, fit_unknown, nearest_distances
from core.in_context.features import ClipFeatures
from core.prompts.demonstrations import label_set
from flows.pipeline.labeling.labelers.answering import NEAREST_NEIGHBOR, compared_embeddings

if TYPE_CHECKING:
    from core.in_context.labelers import Labeler, Prediction


CHEAP = (NEAREST_TOKENS, NEAREST_LATENTS)
MAX_COMPARED = 1_000
"""Demonstrations that are fitted only to say what the labelers say that do not answer."""


@dataclass(frozen=True)
class ClipLabel:
    """An answer to store. `by_labeler` has the guess of each labeler that was asked.

    `raw_probabilities` are those before calibration, None without one. `distance` from the nearest
    demonstration is None where no bound was asked for.
    """

    label: str
    probabilities: Mapping[str, float]
    margin: float
    baselines: Mapping[str, Guess]
    by_labeler: Mapping[str, Guess]
    raw_probabilities: Mapping[str, float] | None = None
    distance: float | None = None


class Asking:
    """A few-shot labeler as one of the labelers side by side."""

    def __init__(self, labeler: Labeler, labels: Sequence[str]) -> None:
        self._labeler, self._labels = labeler, labels

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels)."""
        predictions = self._labeler.label([query.codes for query in queries])
        rows = [[one.probabilities[label] for label in self._labels] for one in predictions]
        return np.array(rows).reshape(len(queries), len(self._labels))


class SideBySide:
    """The labelers of these demonstrations. `measured` has the calibration of each, where it is known.

    only_cheap: of a large library, build no labeler that has to be fitted.
    """

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        installed: Installed,
        measured: Mapping[str, Any] | None = None,
        *,
        only_cheap: bool = False,
    ) -> None:
        self._demonstrations, self._installed = demonstrations, installed
        self.labels = label_set(sorted({one.label for one in demonstrations}))
        names = labeler_names(demonstrations, installed)
        if only_cheap and len(demonstrations) > MAX_COMPARED:
            names = tuple(name for name in names if name in CHEAP)
        self._built = build_labelers(names, self.labels, demonstrations, installed)
        self._mixtures = dict(mixtures(tuple(self._built), installed.embeddings))
        self._baselines = Baselines(self.labels, [one.clip for one in demonstrations])
        self._choice = Choice.from_json(measured) if measured else None

    def label(
        self,
        name: str,
        calibration: Mapping[str, Any] | None,
        clips: Sequence[ClipFeatures],
        bound: UnknownBound | None,
    ) -> list[ClipLabel]:
        """Return the answers of one labeler, in order. Raises PromptError if the clips do not allow it."""
        name = NEAREST_TOKENS if name == NEAREST_NEIGHBOR else name
        answers = self._answers(clips)
        if not all(name in one for one in answers):
            raise PromptError(f"the labeler {name} compares what these clips or demonstrations do not have")
        raw = np.array([one[name] for one in answers]).reshape(len(clips), len(self.labels))
        apply = read_calibration(calibration).apply if calibration else np.array
        guesses, distances = self._guesses(clips, answers), self._distances(clips, bound)
        rows = zip(raw, apply(raw), guesses, answers, distances, strict=True)
        return [
            ClipLabel(
                label=self.labels[int(row.argmax())],
                probabilities=self._by_label(row),
                margin=_margin(row),
                baselines=baselines,
                by_labeler=self._by_labeler(one),
                raw_probabilities=self._by_label(before) if calibration else None,
                distance=distance,
            )
            for before, row, baselines, one, distance in rows
        ]

    def beside(
        self, predictions: Sequence[Prediction], clips: Sequence[ClipFeatures], bound: UnknownBound | None
    ) -> list[ClipLabel]:
        """Return answers as they are, with what the labelers say of the same clips."""
        rows = zip(predictions, self._answers(clips), self._distances(clips, bound), strict=True)
        return [
            ClipLabel(
                label=one.label,
                probabilities=one.probabilities,
                margin=one.margin,
                baselines=one.baselines,
                by_labeler=self._by_labeler(answers),
                distance=distance,
            )
            for one, answers, distance in rows
        ]

    def bound(self, name: str, coverage: float) -> UnknownBound | None:
        """Return the bound of the unknown for a labeler, None if its clips have no distance."""
        known = representations(self._demonstrations, self._installed)
        compared = compared_by(name, known, self._installed)
        return fit_unknown(compared, self._demonstrations, coverage) if compared else None

    def _distances(self, clips: Sequence[ClipFeatures], bound: UnknownBound | None) -> Sequence[float | None]:
        if bound is None:
            return [None] * len(clips)
        known = [clip for clip in clips if bound.representation.is_known(clip)]
        distances = iter(nearest_distances(bound.representation, self._demonstrations, known).tolist())
        return [next(distances) if bound.representation.is_known(clip) else None for clip in clips]

    def _guesses(
        self, clips: Sequence[ClipFeatures], answers: Sequence[Mapping[str, FloatArray]]
    ) -> list[dict[str, Guess]]:
        """Return the guesses of the baselines; every clip was compared by its tokens already."""
        nearest = np.array([one[NEAREST_TOKENS] for one in answers]).reshape(len(clips), len(self.labels))
        return self._baselines.guesses([clip.codes for clip in clips], nearest)

    def _answers(self, clips: Sequence[ClipFeatures]) -> list[dict[str, FloatArray]]:
        """Return for each clip the probabilities (labels,) by each labeler that can compare it."""
        together: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for at, clip in enumerate(clips):
            together[tuple(name for name in self._built if _allows(clip, name, self._installed))].append(at)
        answers: list[dict[str, FloatArray]] = [{} for _ in clips]
        for names, places in together.items():
            some = [clips[at] for at in places]
            for name, rows in self._probabilities(names, some).items():
                for at, row in zip(places, rows, strict=True):
                    answers[at][name] = row
        return answers

    def _probabilities(self, names: Sequence[str], clips: Sequence[ClipFeatures]) -> dict[str, FloatArray]:
        answers = {name: self._built[name].probabilities(clips) for name in names}
        for name, parts in self._mixtures.items():
            if parts.keys() <= answers.keys():
                own = {part: answers[part] for part in parts}
                answers[name] = with_mixtures(own, self._installed.embeddings)[name]
        return answers

    def _by_labeler(self, answers: Mapping[str, FloatArray]) -> dict[str, Guess]:
        """Return the guess of each labeler, calibrated where a calibration was measured."""
        known = {one.name: one.calibration for one in self._choice.candidates} if self._choice else {}
        return {
            name: best_guess(self.labels, known[name].apply(row[None])[0] if name in known else row)
            for name, row in answers.items()
        }

    def _by_label(self, row: FloatArray) -> dict[str, float]:
        return dict(zip(self.labels, row.tolist(), strict=True))


def read_calibration(values: Mapping[str, Any]) -> Calibration:
    """Return the calibration that these stored values are of."""
    return Calibration(values["temperature"], tuple(values["bias"]))


def _allows(clip: ClipFeatures, name: str, installed: Installed) -> bool:
    """Return whether a clip has what a labeler compares."""
    if name == NEAREST_LATENTS or name.endswith(f" {LATENTS}"):
        return clip.codes.latent is not None
    return compared_embeddings(name, {LOG_MEL, *installed.embeddings}).issubset(clip.vectors)


def _margin(row: FloatArray) -> float:
    second, first = np.sort(row)[-2:]
    return float(first - second)
