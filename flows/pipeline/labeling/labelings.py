"""The labelings that answer a request: one by a library, or one for each label of a multi-label library."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from sqlalchemy.orm import Session

from core.errors import PromptError
from db.clips import Selection, clip_uris
from db.engine import session_scope
from db.libraries import get_library
from db.library_names import split_library_name
from db.runs import RunClaim
from flows.pipeline.labeling.exports.row import ExportedRow, LabelsRow, labels_row
from flows.pipeline.labeling.label import Labeling, query_parts
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.by_label import MULTI_LABEL, libraries_by_label
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime


class Labelings:
    """The labelings of a request. `by_label` has those of a multi-label library, and is empty for others.

    Raises LibraryNotFound, and PromptError for a request that a multi-label library cannot be asked.
    """

    def __init__(self, runtime: Runtime, request: LabelRequest) -> None:
        self.runtime, self.request = runtime, request
        self.by_label: Mapping[str, Labeling] = {}
        with session_scope(runtime.engine) as session:
            self.library = get_library(session, *split_library_name(request.library))
            is_multi_label = self.library.task == MULTI_LABEL
            libraries = libraries_by_label(session, self.library) if is_multi_label else {}
        if libraries and request.events:
            raise PromptError(f"{self.name} gives a clip several labels: ask for the events of one of them")
        self.by_label = {
            label: Labeling(runtime, replace(request, library=f"{one.name}@{one.version}"))
            for label, one in libraries.items()
        }
        self.all: tuple[Labeling, ...] = tuple(self.by_label.values()) or (Labeling(runtime, request),)

    @property
    def name(self) -> str:
        """NAME@VERSION of the library."""
        return f"{self.library.name}@{self.library.version}"

    @property
    def is_multi_label(self) -> bool:
        """Whether a clip has none, one or several labels."""
        return bool(self.by_label)

    @property
    def models(self) -> tuple[list[int], list[int]]:
        """The embedding models whose embeddings, and whose windows, clips need."""
        if not self.is_multi_label:
            return self.all[0].models
        embeddings, windows = zip(*(one.models for one in self.all), strict=True)
        return sorted({*chain(*embeddings)}), sorted({*chain(*windows)})

    @property
    def is_known(self) -> bool:
        """Whether it is decided which labelers answer."""
        return all(one.setup.answering.is_known for one in self.all)

    def prepare(self, run: RunClaim) -> None:
        """Make the prompts, and choose the labelers that are not chosen yet."""
        for one in self.all:
            one.prepare(run)

    def is_prepared(self) -> bool:
        """Return whether the prompts can be made without reading audio, and all labelers are chosen."""
        return all(one.setup.is_prepared() for one in self.all)

    def load(self) -> None:
        """Load the models and read the demonstrations, before several threads need them."""
        for one in self.all:
            one.load()

    def work_key(self, content_sha256: bytes) -> bytes:
        """Return the key of the work on one content, which is that of all its answers together."""
        keys = [one.setup.work_key(content_sha256) for one in self.all]
        return hashlib.sha256(b"".join(keys)).digest()

    def batches(self, selection: Selection) -> list[Sequence[bytes]]:
        """Return batches of contents that lack a standing answer of any of the labelings."""
        if not self.is_multi_label:
            return self.all[0].batches(selection)
        waiting = (batch for one in self.all for batch in one.batches(selection))
        contents = list(dict.fromkeys(content for batch in waiting for content in batch))
        return batches_of(contents, self.runtime.settings.batch_size)

    def answered(self, contents: Collection[bytes]) -> set[bytes]:
        """Return the contents that every labeling has answered."""
        return set.intersection(*(one.answered(contents) for one in self.all))

    def label_batch(self, contents: Sequence[bytes], run: RunClaim) -> Counts:
        """Label a batch by each labeling that has not answered it yet; safe to repeat.

        A clip counts as labeled once it has all answers. One that a labeling failed on is not asked further.
        """
        if not self.is_multi_label:
            return self.all[0].label_batch(contents, run)
        left, counts = [*contents], Counts()
        for one in self.all:
            answered = one.answered(left)
            if todo := [content for content in left if content not in answered]:
                counts += one.label_batch(todo, run)
                answered = one.answered(left)
            left = [content for content in left if content in answered]
        aside = {name: number for name, number in counts.items() if name.startswith("quarantined")}
        return Counts({"labeled": len(left), **aside})

    def update_bounds(self, selection: Selection, run: RunClaim) -> None:
        """Let the analysts' views judge earlier answers by this request's margin and distance."""
        for one in self.all:
            one.update_bounds(selection, run)

    def rows(self, session: Session, selection: Selection) -> Iterator[ExportedRow]:
        """Yield the answers to this request as exported rows, in uri order."""
        if not self.is_multi_label:
            yield from self.all[0].rows(session, selection)
            return
        for uris in query_parts(clip_uris(session, selection)):
            yield from self._rows_by_label(session, uris)

    def _rows_by_label(self, session: Session, uris: Sequence[str]) -> Iterator[LabelsRow]:
        """Yield a row for each clip that all labelings have answered."""
        answers = {
            label: {row.uri: row for row in one.rows(session, {*uris})}
            for label, one in self.by_label.items()
        }
        for uri in uris:
            found = {label: rows[uri] for label, rows in answers.items() if uri in rows}
            if len(found) == len(answers):
                yield labels_row(self.library, found)
