"""A library version as `wordwave library lint` looks at it."""

from collections.abc import Iterator

from db.engine import session_scope
from db.libraries import LibraryVersion
from db.reviews.nights import answered_labels
from flows.pipeline.labeling.library_review import nightly_request
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.libraries.by_label import refuse_multi_label
from flows.pipeline.libraries.care import (
    duplicate_lines,
    label_lines,
    leak_lines,
    size_line,
    suspect_lines,
)
from flows.pipeline.reviews.canaries import canaries_of
from flows.pipeline.reviews.vectors import review_vectors
from flows.pipeline.runtime.resources import Runtime


def lint(runtime: Runtime, version: LibraryVersion) -> Iterator[str]:
    """Yield what a person should look at. Raises ValueError for a library of another task."""
    refuse_multi_label(version)
    if version.task != TASK:
        raise ValueError(f"library {version.name} is for {version.task}: only labels are checked")
    setup = LabelingSetup(runtime, nightly_request(runtime, version)[0])
    rows, canaries = version.demonstrations, canaries_of(runtime, version)
    vectors = review_vectors(runtime, {row.content_sha256 for row in (*rows, *canaries)})
    yield from leak_lines(rows, canaries, vectors)
    yield from duplicate_lines(rows, vectors)
    yield from suspect_lines(rows, vectors)
    with session_scope(runtime.engine) as session:
        answered = answered_labels(session, version.name)
    yield from label_lines(rows, answered)
    size = setup.prompt.size if setup.answering.is_known else None
    if size and (line := size_line(size.longest, size.context)):
        yield line
