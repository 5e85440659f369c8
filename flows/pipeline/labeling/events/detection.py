"""Events of clips: the windows of each are scored by the demonstrations of a library, and joined."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from core.errors import PromptError
from core.in_context.choosing.labelers import LOGISTIC, ZERO_SHOT
from db.clips import Selection, clips_with_tokens
from db.embeddings import contents_with_embeddings, contents_with_windows, get_tags, get_windows
from db.engine import session_scope
from db.events import HeardEvent, NewEvents, heard_work_keys
from db.tokens import get_token_sequences
from flows.pipeline.labeling.events.listener import EventListener, listener_of
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.runtime.fingerprints import work_key

if TYPE_CHECKING:
    from core.events.labelers import WindowLabeler
    from core.events.windows import ClipWindows, WindowGrid

VERSION = 1
"""Part of the work keys: a change of how windows are scored or joined is new work."""


class EventDetection:
    """The events that a request asks for. Raises PromptError where no embedding model is installed."""

    def __init__(self, setup: LabelingSetup) -> None:
        self._setup, self._runtime = setup, setup.runtime

    @cached_property
    def listener(self) -> EventListener:
        """The labeler that hears. Raises LabelerNotChosen before the first run of auto."""
        return listener_of(self._runtime, self._setup.answering.method)

    def load(self) -> None:
        """Read the demonstrations, before several threads need them."""
        _ = self._labeler

    def work_key(self, content_sha256: bytes) -> bytes:
        """Return the key of the work on one content: equal keys have equal events."""
        return work_key(content_sha256.hex(), self._shared_key)

    @cached_property
    def _shared_key(self) -> str:
        library, listener = self._setup.library, self.listener
        parts = (
            f"events {VERSION}",
            self._runtime.codec_fingerprint,
            listener.model.fingerprint,
            listener.labeler,
            f"{library.name}@{library.version}",
            str(self._setup.request.k_shot),
        )
        return "\0".join(parts)

    def heard(self, contents: Iterable[bytes]) -> set[bytes]:
        """Return the contents whose events are stored."""
        keys = {self.work_key(content): content for content in contents}
        with session_scope(self._runtime.engine) as session:
            return {keys[key] for key in heard_work_keys(session, keys)}

    def missing(self, selection: Selection) -> set[bytes]:
        """Return the contents of clips that can be heard and were not yet."""
        with session_scope(self._runtime.engine) as session:
            clips = clips_with_tokens(session, selection, self._runtime.codec_id, TASK)
        contents = self._with_windows({clip.content_sha256 for clip in clips})
        return contents - self.heard(contents)

    def _with_windows(self, contents: Collection[bytes]) -> set[bytes]:
        """Return the contents that have what the listener compares."""
        listener = self.listener
        with session_scope(self._runtime.engine) as session:
            found = contents_with_embeddings(session, [listener.model.id], contents)
            return contents_with_windows(session, listener.window_models, found)

    def hear_missing(self, contents: Collection[bytes]) -> list[NewEvents]:
        """Return the events of contents that have none stored, without those that cannot be heard."""
        return self.hear(set(contents) - self.heard(contents))

    def hear(self, contents: Collection[bytes]) -> list[NewEvents]:
        """Return the events of contents, without those that cannot be heard."""
        from core.events.joining import join_windows

        found = []
        for content, clip in self._clips(contents).items():
            events = join_windows(self._setup.prompt.labels, self._labeler.scores(clip), clip, self._grid)
            found.append(self._row(content, [HeardEvent(*event) for event in events]))
        return found

    def _row(self, content: bytes, events: Sequence[HeardEvent]) -> NewEvents:
        return NewEvents(
            work_key=self.work_key(content),
            content_sha256=content,
            demonstration_set_id=self._setup.library.id,
            codec_id=self._runtime.codec_id,
            embedding_model_id=self.listener.model.id,
            labeler=self.listener.labeler,
            events=events,
        )

    @cached_property
    def _grid(self) -> WindowGrid:
        from core.events.windows import WindowGrid

        return WindowGrid(self.listener.window, self.listener.hop, self._runtime.code_seconds)

    @cached_property
    def _labeler(self) -> WindowLabeler:
        from core.events.labelers import FewShotWindows, ShownWindows, ZeroShotWindows
        from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler

        listener, labels = self.listener, self._setup.prompt.labels
        if listener.way == ZERO_SHOT:
            return ZeroShotWindows(labels, listener.classes, self._grid)
        shown = self._setup.prompt.contents
        clips = self._clips([content for content, _ in shown])
        self._check_shown([content for content, _ in shown if content not in clips])
        kind = LogisticLabeler if listener.way == LOGISTIC else ClassMeanLabeler
        windows = [ShownWindows(clips[content], label) for content, label in shown]
        return FewShotWindows(kind, labels, windows, self._grid)

    def _check_shown(self, lost: Sequence[bytes]) -> None:
        if lost:
            library, uris = self._setup.library, self._setup.library.contents
            names = ", ".join([uri for uri, content in uris.items() if content in lost][:5])
            raise PromptError(
                f"{len(lost)} demonstrations of {library.name}@{library.version} have no windows of "
                f"{self.listener.embedding} and are no longer what was imported: {names}; import them again"
            )

    def _clips(self, contents: Collection[bytes]) -> dict[bytes, ClipWindows]:
        """Return the contents in time; those that cannot be heard are left out."""
        from flows.pipeline.labeling.events.stored import with_scores, with_vectors

        runtime, listener = self._runtime, self.listener
        with session_scope(runtime.engine) as session:
            tokens = get_token_sequences(session, runtime.codec_id, contents)
            if listener.way == ZERO_SHOT:
                tags = get_tags(session, listener.model.id, tokens)
                return {one: with_scores(tokens[one], tags[one], len(listener.classes)) for one in tags}
            windows = get_windows(session, listener.model.id, tokens)
            return {one: with_vectors(tokens[one], windows[one], listener.dimensions) for one in windows}
