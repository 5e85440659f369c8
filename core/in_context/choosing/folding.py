"""Which demonstrations are left out together.

One demonstration of each label is left out at a time, so that every label loses as much: leaving out a single
one would leave its own label with fewer demonstrations than the others, which a nearest neighbor answers with
the others. Demonstrations of one group are left out together.
"""

from collections.abc import Iterator, Sequence

from core.in_context.choosing.library import Demonstration

MAX_FOLDS = 20
"""Larger libraries are left out in parts of a twentieth."""

Fold = tuple[int, ...]
"""Numbers of the demonstrations that are left out together."""


def folds(demonstrations: Sequence[Demonstration]) -> list[Fold]:
    """Return what is left out together: at most one group of each label, never all of a label.

    A demonstration whose label would be gone without its group is in no fold.
    """
    found: list[list[int]] = []
    for unit in _units(demonstrations):
        labels = {demonstrations[at].label for at in unit}
        free = (fold for fold in found if not labels & {demonstrations[at].label for at in fold})
        fold = next(free, None)
        if fold is None and len(found) == MAX_FOLDS:
            fold = min(found, key=len)
        if fold is None:
            found.append(fold := [])
        fold += unit
    return [tuple(sorted(fold)) for fold in found if not _is_gone(demonstrations, fold)]


def _units(demonstrations: Sequence[Demonstration]) -> Iterator[list[int]]:
    """Yield the numbers of each group, and of each demonstration without one, if its labels stay without."""
    members: dict[tuple[str, object], list[int]] = {}
    for at, one in enumerate(demonstrations):
        members.setdefault(("alone", at) if one.group is None else ("group", one.group), []).append(at)
    yield from (unit for unit in members.values() if not _is_gone(demonstrations, unit))


def _is_gone(demonstrations: Sequence[Demonstration], left: Sequence[int]) -> bool:
    """Return whether a label has no demonstration but those that are left out."""
    gone = set(left)
    stay = {one.label for at, one in enumerate(demonstrations) if at not in gone}
    return stay != {one.label for one in demonstrations}
