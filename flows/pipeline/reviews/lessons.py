"""What decisions teach a library: its next demonstrations, and what about them a person should know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from db.libraries import LibraryDemonstration, LibraryVersion
from db.reviews.decisions import DecidedClip
from flows.pipeline.reviews.vectors import review_vectors
from flows.pipeline.runtime.resources import Runtime


@dataclass(frozen=True)
class Contradiction:
    """A demonstration that a decision gives another label, or none."""

    demonstration: LibraryDemonstration
    decided: DecidedClip


@dataclass(frozen=True)
class SuspectDemonstration:
    """A demonstration that looks mislabeled: the others say another label."""

    demonstration: LibraryDemonstration
    others_say: str


@dataclass(frozen=True)
class Lesson:
    """The demonstrations of the next version, and how they came about.

    added: contents that no demonstration had. dropped: demonstrations that the others can do without.
    disputed: clips about which people differ; the latest decision counts.
    """

    old: LibraryVersion
    demonstrations: tuple[LibraryDemonstration, ...]
    added: tuple[LibraryDemonstration, ...]
    dropped: tuple[LibraryDemonstration, ...]
    contradictions: tuple[Contradiction, ...]
    disputed: tuple[DecidedClip, ...]
    suspects: tuple[SuspectDemonstration, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to learn."""
        return self.demonstrations == self.old.demonstrations


def lesson_of(
    runtime: Runtime, old: LibraryVersion, decided: Sequence[DecidedClip], held_out: Collection[bytes] = ()
) -> Lesson:
    """Return what decisions that the version in use was not made with teach it.

    Random clips, contents in `held_out` (canaries) and labels that the version does not have teach nothing.
    """
    from core.in_context.reviewing.prototypes import keep_helpful, suspects

    usable = usable_of(old, decided, held_out)
    rows = taught(old, usable)
    vectors = review_vectors(runtime, rows.keys())
    compared = [row for row in rows.values() if row.content_sha256 in vectors]
    labels = [row.label_or_text for row in compared]
    kept, looks_wrong = set[bytes](rows), dict[int, str]()
    # without a decision nothing changes, so that learning comes to rest
    if compared and usable:
        import numpy as np

        stacked = np.stack([vectors[row.content_sha256] for row in compared])
        places = keep_helpful(labels, stacked, newest=_added_places(old, compared))
        kept -= {row.content_sha256 for at, row in enumerate(compared) if at not in set(places)}
        looks_wrong = suspects(labels, stacked)
    before = {row.content_sha256 for row in old.demonstrations}
    return Lesson(
        old=old,
        demonstrations=tuple(row for row in rows.values() if row.content_sha256 in kept),
        added=tuple(row for row in rows.values() if row.content_sha256 in kept - before),
        dropped=tuple(row for row in old.demonstrations if row.content_sha256 in rows.keys() - kept),
        contradictions=tuple(contradictions(old, usable)),
        disputed=tuple(one for one in usable if one.is_disputed),
        suspects=tuple(SuspectDemonstration(compared[at], label) for at, label in looks_wrong.items()),
    )


def usable_of(
    old: LibraryVersion, decided: Sequence[DecidedClip], held_out: Collection[bytes]
) -> list[DecidedClip]:
    """Return the decisions that may teach a version: those for a label that it has, or for none."""
    said = {row.label for row in old.demonstrations} | {None}
    may_teach = [one for one in decided if not one.is_random and one.content_sha256 not in held_out]
    return [one for one in may_teach if one.label in said]


def taught(old: LibraryVersion, decided: Sequence[DecidedClip]) -> Mapping[bytes, LibraryDemonstration]:
    """Return the demonstrations by content after the decisions, of which the newest win.

    A demonstration that is none of the labels goes, unless its label would be without one.
    """
    rows = {row.content_sha256: row for row in old.demonstrations}
    for one in decided:
        if one.label is not None:
            rows[one.content_sha256] = LibraryDemonstration(one.content_sha256, one.label, one.uri)
        elif (row := rows.get(one.content_sha256)) and _count(rows, row.label) > 1:
            del rows[one.content_sha256]
    return rows


def contradictions(old: LibraryVersion, decided: Sequence[DecidedClip]) -> list[Contradiction]:
    """Return the demonstrations that decisions give another label, or none."""
    rows = {row.content_sha256: row for row in old.demonstrations}
    pairs = [(rows[one.content_sha256], one) for one in decided if one.content_sha256 in rows]
    return [Contradiction(row, one) for row, one in pairs if row.label != one.label]


def _count(rows: Mapping[bytes, LibraryDemonstration], label: str | None) -> int:
    return sum(row.label == label for row in rows.values())


def _added_places(old: LibraryVersion, rows: Sequence[LibraryDemonstration]) -> set[int]:
    before = {row.content_sha256 for row in old.demonstrations}
    return {at for at, row in enumerate(rows) if row.content_sha256 not in before}
