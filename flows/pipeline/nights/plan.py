"""Plans of nights: places are listed, but no object is read and nothing is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Literal

from core.errors import PromptTooLong
from db.clips import StoredVersion, stored_versions
from db.engine import session_scope
from db.object_version import ObjectVersion
from flows.pipeline.clips.ingest import listed_clips
from flows.pipeline.labeling.exports.results import is_exported
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.setup import TASK
from flows.pipeline.runs.partition import Partition

State = Literal["new", "changed", "to tokenize", "to label", "done", "quarantined"]
STATES: Mapping[State, str] = {
    "new": "first seen in this listing",
    "changed": "another version of a known uri",
    "to tokenize": "listed before, without tokens of this codec",
    "to label": "tokenized, without an answer to this request",
    "done": "answered",
    "quarantined": "waiting for replay",
}
IDLE_STATES = {"done", "quarantined"}
"""States of clips that need no work."""


class NotApproved(RuntimeError):
    """Nobody approved a plan in time."""


@dataclass(frozen=True)
class NightPlan:
    """The number of listed clips in each state, and the states by uri of those that are not done.

    `reasons` has the reasons of quarantined clips. `relisted` counts versions that are gone, replaced or
    back; `is_exported` is False if the answers are complete and no export has them.
    """

    partition: Partition
    counts: Counter[State]
    clips: Mapping[str, State]
    reasons: Mapping[str, str]
    relisted: int
    is_exported: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether no clip is listed."""
        return not self.counts.total()

    @property
    def due(self) -> int:
        """The number of clips that need work."""
        return sum(number for state, number in self.counts.items() if state not in IDLE_STATES)

    @property
    def is_done(self) -> bool:
        """Whether a run would find nothing to do."""
        return not self.due and not self.relisted and self.is_exported


class Planner:
    """Plans of the nights of a request. The days of a place share its listing."""

    def __init__(self, labelings: Labelings) -> None:
        self._labelings = labelings
        self._place = lru_cache(maxsize=1)(lambda place: _Place.read(labelings, place))

    def plan(self, partition: Partition) -> NightPlan:
        """Plan a run of the partition as of now."""
        place = self._place(partition.place)
        listed = [clip for clip in place.listed if partition.holds(clip.last_modified)]
        stored = [place.stored_version(clip) for clip in listed]
        answered = self._answered(stored)
        states = [
            _state(version, answered, clip.uri in place.uris)
            for clip, version in zip(listed, stored, strict=True)
        ]
        plan = NightPlan(
            partition,
            Counter(states),
            {clip.uri: state for clip, state in zip(listed, states, strict=True) if state != "done"},
            {
                version.uri: version.reason
                for version, state in zip(stored, states, strict=True)
                if version and version.reason and state == "quarantined"
            },
            place.relisted(partition),
        )
        if plan.is_done and plan.counts["done"]:
            return replace(plan, is_exported=self._is_exported(partition))
        return plan

    def contents(self, partition: Partition) -> list[bytes]:
        """Return the contents of the partition's listed clips that have tokens."""
        stored = self._place(partition.place).stored.values()
        found = (version.content_sha256 for version in stored if _is_here(version, partition))
        return list(dict.fromkeys(content for content in found if content))

    def _answered(self, stored: Sequence[StoredVersion | None]) -> set[bytes]:
        """Return the contents with an answer. There are none if the prompt cannot be made."""
        if not self._labelings.is_prepared():
            return set()
        try:
            return self._labelings.answered({v.content_sha256 for v in stored if v and v.content_sha256})
        except PromptTooLong:
            return set()

    def _is_exported(self, partition: Partition) -> bool:
        labelings = self._labelings
        selection = partition.selection(labelings.runtime)
        return is_exported(labelings.runtime, partial(labelings.rows, selection=selection))


@dataclass(frozen=True)
class _Place:
    """A listing, and what is stored of the same place."""

    listed: list[ObjectVersion]
    stored: Mapping[tuple[str, str], StoredVersion]

    @classmethod
    def read(cls, labelings: Labelings, place: str) -> "_Place":
        runtime = labelings.runtime
        listed = list(listed_clips(runtime, place))
        models, windows = {*runtime.embedding_model_ids}, list[int]()
        if labelings.is_known:
            embeddings, windows = labelings.models
            models.update(embeddings)
        with session_scope(runtime.engine) as session:
            versions = stored_versions(
                session, place, runtime.codec_id, TASK, embedding_models=models, window_models=windows
            )
        return cls(listed, {(version.uri, version.version_token): version for version in versions})

    @cached_property
    def uris(self) -> set[str]:
        return {uri for uri, _ in self.stored}

    @cached_property
    def versions(self) -> set[tuple[str, str]]:
        return {(clip.uri, token) for clip in self.listed for token in clip.tokens}

    def stored_version(self, clip: ObjectVersion) -> StoredVersion | None:
        """Return the stored version of a listed clip, under its current token or an earlier form of it."""
        found = (self.stored.get((clip.uri, token)) for token in clip.tokens)
        return next((version for version in found if version), None)

    def relisted(self, partition: Partition) -> int:
        """Count the versions of which listing and database disagree whether they are current."""
        return sum(
            version.is_current != (key in self.versions)
            for key, version in self.stored.items()
            if partition.holds(version.last_modified)
        )


def _is_here(version: StoredVersion, partition: Partition) -> bool:
    return version.is_current and version.is_tokenized and partition.holds(version.last_modified)


def _state(version: StoredVersion | None, answered: set[bytes], is_known: bool) -> State:
    if version is None:
        return "changed" if is_known else "new"
    if version.reason and version.content_sha256 not in answered:
        return "quarantined"
    if not version.is_tokenized:
        return "to tokenize"
    return "done" if version.content_sha256 in answered else "to label"
