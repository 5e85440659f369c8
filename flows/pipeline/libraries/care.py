"""What a person should look at in a library: leaks, near duplicates, doubtful and uneven labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from db.libraries import LibraryDemonstration

if TYPE_CHECKING:
    from core.in_context.baselines import FloatArray

NEARLY_THE_SAME = 1e-4
"""Cosine distance of pooled latents below which two clips sound the same."""
UNEVEN = 4
"""Times as many demonstrations as the label with the fewest has."""
NEAR_THE_LIMIT = 0.9
MAX_EXAMPLES = 5


def leak_lines(
    rows: Sequence[LibraryDemonstration],
    canaries: Sequence[LibraryDemonstration],
    vectors: Mapping[bytes, FloatArray],
) -> Iterator[str]:
    """Yield the canaries that are demonstrations too, or sound the same as one: they could not fail."""
    shown = {row.content_sha256 for row in rows}
    for canary in canaries:
        if canary.content_sha256 in shown:
            yield f"leak: the canary {canary.uri} is a demonstration: take another one"
        elif near := _same(canary, rows, vectors):
            yield f"leak: the canary {canary.uri} sounds the same as the demonstration {near.uri}"


def duplicate_lines(
    rows: Sequence[LibraryDemonstration], vectors: Mapping[bytes, FloatArray]
) -> Iterator[str]:
    """Yield demonstrations that sound the same as an earlier one."""
    for at, row in enumerate(rows):
        if near := _same(row, rows[:at], vectors):
            labels = "" if near.label == row.label else f", which is {near.label} and not {row.label}"
            yield f"near duplicate: {row.uri} sounds the same as {near.uri}{labels}: keep one"


def suspect_lines(rows: Sequence[LibraryDemonstration], vectors: Mapping[bytes, FloatArray]) -> Iterator[str]:
    """Yield demonstrations to which the others give another label."""
    import numpy as np

    from core.in_context.reviewing.prototypes import suspects

    compared = [row for row in rows if row.content_sha256 in vectors]
    if not compared:
        return
    stacked = np.stack([vectors[row.content_sha256] for row in compared])
    for at, label in suspects([row.label_or_text for row in compared], stacked).items():
        row = compared[at]
        yield f"looks mislabeled: {row.uri} is {row.label}, the others say {label}: listen to it"


def label_lines(rows: Sequence[LibraryDemonstration], answered: Mapping[str, int]) -> Iterator[str]:
    """Yield labels with many more demonstrations than others, and labels that no clip has been given."""
    counts = Counter(row.label_or_text for row in rows)
    least = min(counts, key=lambda label: (counts[label], label))
    for label, count in counts.most_common():
        if count >= UNEVEN * counts[least]:
            yield f"uneven: {label} has {count} demonstrations, {least} has {counts[least]}: even them out"
    if answered:
        unused = sorted(counts.keys() - answered.keys())
        if unused:
            yield f"unused: no current answer is {', '.join(unused[:MAX_EXAMPLES])}"


def size_line(longest: int, context: int) -> str | None:
    """Return a warning for a prompt that nearly fills the LLM's context, or None."""
    if longest <= NEAR_THE_LIMIT * context:
        return None
    return f"long: prompts take up to {longest} of the LLM's {context} token ids: keep fewer demonstrations"


def _same(
    clip: LibraryDemonstration, others: Sequence[LibraryDemonstration], vectors: Mapping[bytes, FloatArray]
) -> LibraryDemonstration | None:
    """Return the first of the others that sounds the same."""
    own = vectors.get(clip.content_sha256)
    known = [one for one in others if one.content_sha256 in vectors]
    if own is None or not known:
        return None
    import numpy as np

    from core.in_context.vector_labelers import unit_rows

    stacked = np.stack([vectors[one.content_sha256] for one in known])
    distances = 1 - unit_rows(stacked) @ unit_rows(own[None])[0]
    nearest = int(distances.argmin())
    return known[nearest] if distances[nearest] < NEARLY_THE_SAME else None
