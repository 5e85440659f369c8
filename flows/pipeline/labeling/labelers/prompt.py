"""The prompt of a request: the demonstrations that it shows, its hash, and whether the LLM can read it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from core.errors import PromptError, PromptTooLong
from db.libraries import LibraryVersion
from flows.pipeline.clips.stored_codes import clip_codes
from flows.pipeline.labeling.labelers.answering import Answering
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.demonstrations import stored_tokens
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from core.in_context.labelers import Labeler
    from core.prompts.demonstrations import LabeledClip
    from core.prompts.few_shot import FewShotPrompt, FewShotSettings
    from core.tokens.clip_codes import ClipCodes
    from flows.pipeline.runtime.language_model import LanguageModel


@dataclass(frozen=True)
class PromptSize:
    """Token ids of the longest prompt, and of the LLM's context."""

    longest: int
    context: int


class LibraryPrompt:
    """The demonstrations of a library version as a request shows them to an LLM.

    Labelers without an LLM compare the same demonstrations.
    """

    def __init__(
        self, runtime: Runtime, request: LabelRequest, library: LibraryVersion, answering: Answering
    ) -> None:
        self._runtime, self._request, self._library = runtime, request, library
        self._answering = answering

    @cached_property
    def hash(self) -> str:
        """The hash that the labeler has, computed without the models. Raises what the labeler would raise.

        Labelers that show no prompt have the hash of their name: their key holds the library version.
        """
        from core.in_context.prompt_hashes import nearest_neighbor_hash, nearest_shots_hash
        from core.prompts.demonstrations import check_demonstrated, select_demonstrations

        if self._prompt is None:
            check_demonstrated(self.labels, self.demonstrations)
            if self._answering.is_plain:
                return nearest_neighbor_hash(self.demonstrations)
            return hashlib.sha256(self._answering.method.encode()).hexdigest()
        self._check_size()
        if not (shots := self._request.nearest_shots):
            return self._prompt.prompt_hash
        select_demonstrations(self.demonstrations, self.labels, shots)
        return nearest_shots_hash(self._prompt, self.demonstrations, shots)

    @cached_property
    def size(self) -> PromptSize | None:
        """The size of the longest prompt. None if the labeler asks no LLM."""
        return self._size_of(self._prompt) if self._prompt else None

    def is_readable(self) -> bool:
        """Return whether there is an LLM that takes these labels and their prompt."""
        if self._runtime.llm is None:
            return False
        try:
            size = self._size_of(self._prompt_of(self._runtime.llm))
        except PromptError:
            return False
        return size.longest <= size.context

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The label set of the demonstrations."""
        from core.prompts.demonstrations import label_set

        return label_set(sorted({clip.label for clip in self.demonstrations}))

    @cached_property
    def demonstrations(self) -> list[LabeledClip]:
        """The demonstrations of the prompt: all in library order, or `k_shot` of each label."""
        from core.prompts.demonstrations import LabeledClip, select_demonstrations

        rows = self._library.demonstrations
        library = [LabeledClip(self.codes[row.content_sha256], row.label_or_text) for row in rows]
        if self._request.k_shot == 0:
            return library
        labels = sorted({clip.label for clip in library})
        return select_demonstrations(library, labels, self._request.k_shot)

    @property
    def contents(self) -> list[tuple[bytes, str]]:
        """The contents of these demonstrations with their labels."""
        by_codes = {id(codes): content for content, codes in self.codes.items()}
        return [(by_codes[id(one.codes)], one.label) for one in self.demonstrations]

    @cached_property
    def codes(self) -> dict[bytes, ClipCodes]:
        """The codes of the library's clips by content."""
        needs_latent = self._answering.is_known and self._answering.by_latent
        stored = stored_tokens(self._runtime, self._library, with_latent=needs_latent)
        return {content: clip_codes(tokens) for content, tokens in stored.items()}

    def few_shot_labeler(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> Labeler:
        """Load the LLM, and return the labeler that asks it with these demonstrations."""
        from core.in_context.labelers import FewShotLabeler
        from core.in_context.nearest_shots import NearestShotsLabeler

        llm = self._runtime.llm
        assert llm
        arguments = (llm.llama, llm.vocabulary, labels, demonstrations, self._settings())
        shots = self._request.nearest_shots
        return NearestShotsLabeler(*arguments, shots) if shots else FewShotLabeler(*arguments)

    def _check_size(self) -> None:
        size, library = self.size, self._library
        if size and size.longest > size.context:
            advice = (
                f"library {library.name}@{library.version} shows more than this LLM can read; ask with fewer "
                "shots (k_shot) or the nearest ones (nearest_shots), or use a smaller version"
            )
            raise PromptTooLong(size.longest, size.context, advice)

    def _size_of(self, prompt: FewShotPrompt) -> PromptSize:
        assert self._runtime.llm
        shots = self._request.nearest_shots
        longest = prompt.longest_with(shots) if shots else prompt.longest
        return PromptSize(longest, self._runtime.llm.context_length)

    @cached_property
    def _prompt(self) -> FewShotPrompt | None:
        llm = self._answering.llm
        return None if llm is None else self._prompt_of(llm)

    def _prompt_of(self, llm: LanguageModel) -> FewShotPrompt:
        from core.prompts.few_shot import FewShotPrompt
        from core.prompts.model_slots import read_model_prompt

        slots = read_model_prompt(llm.directory)
        return FewShotPrompt(llm.vocabulary, self.labels, self.demonstrations, self._settings(), slots)

    def _settings(self) -> FewShotSettings:
        from core.prompts.few_shot import FewShotSettings

        request = self._request
        return FewShotSettings(
            layers=None if request.layers == "auto" else request.layers,
            repeats=request.repeats,
            max_windows=request.max_windows,
            orders=request.orders or None,
        )
