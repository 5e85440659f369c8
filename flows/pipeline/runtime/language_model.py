"""An LLM of the settings, with what the process reads of it once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CheckpointMismatch
from core.presets import preset_directory
from db.engine import session_scope
from db.model_registry import ensure_llm, find_llm
from flows.pipeline.runtime.fingerprints import llm_fingerprint

if TYPE_CHECKING:
    from core.llama.model import FrozenLlama
    from core.tokens.vocabulary import Vocabulary
    from flows.pipeline.runtime.resources import Runtime


class LanguageModel:
    """An LLM by its directory or the name of a preset. Weights are loaded when `llama` is first read."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime = runtime
        self.name = name

    @cached_property
    def directory(self) -> Path:
        """The directory of the LLM's files."""
        return model_directory(self.name)

    @cached_property
    def llama(self) -> FrozenLlama:
        """The model with its weights."""
        # core.llama.model comes first: it lets transformers find its torchaudio
        from transformers.utils.logging import disable_progress_bar

        from core.llama.model import FrozenLlama

        disable_progress_bar()
        runtime = self._runtime
        return FrozenLlama.from_directory(self.directory, device=runtime.device, dtype=runtime.llm_dtype)

    @cached_property
    def context_length(self) -> int:
        """Token ids that the LLM can read, found without loading it."""
        from core.llama.files import read_size

        return read_size(self.directory).context_length

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the files and dtype, found without loading the LLM."""
        return llm_fingerprint(self._runtime.settings.home, self.directory, self._runtime.llm_dtype)

    @cached_property
    def id(self) -> int:
        """The id of the LLM's row, which is made if the LLM is new."""
        with session_scope(self._runtime.engine) as session:
            return ensure_llm(session, self.fingerprint, self.name)

    @property
    def is_registered(self) -> bool:
        """Whether the LLM has a row; asking makes none."""
        with session_scope(self._runtime.engine) as session:
            return find_llm(session, self.fingerprint) is not None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The codec's words as ids of the LLM's tokenizer.

        An LLM with a tokenizer.json spells the words by its own ids, and has none for acoustic codes. Raises
        CheckpointMismatch if the LLM has no tokenizer, or another SentencePiece model than the codec.
        """
        from core.codec.files.directory import directory_words
        from core.llama.files import read_size, read_tokenizer
        from core.tokens.json_tokenizer import JsonTokenizer
        from core.tokens.vocabulary import Vocabulary

        tokenizer = read_tokenizer(self.directory, read_size(self.directory).vocab_size)
        if tokenizer is None:
            raise CheckpointMismatch(
                f"{self.name} has no tokenizer.model or tokenizer.json: prompts need the model's own"
            )
        runtime, codec = self._runtime, self._runtime.settings.codec
        if isinstance(tokenizer, JsonTokenizer) or not runtime.is_llm_codec:
            return Vocabulary(directory_words(runtime.codec_directory), tokenizer, acoustic=False)
        if runtime.tokenizer is None and (rows := runtime.codec.config.codebook_sizes[1]) != len(tokenizer):
            raise CheckpointMismatch(
                f"the codec {codec} has acoustic codebooks of {rows} rows, the tokenizer of "
                f"{self.name} has {len(tokenizer)} pieces: the codes of one are not the words of the other"
            )
        if runtime.tokenizer and runtime.tokenizer.sha256 != tokenizer.sha256:
            raise CheckpointMismatch(
                f"the codec {codec} and the LLM {self.name} have different tokenizers: "
                "their ids mean different words"
            )
        return Vocabulary(directory_words(runtime.codec_directory), tokenizer)


def model_directory(name: str) -> Path:
    """Return the directory of a model: an existing path, or the preset of that name."""
    path = Path(name).expanduser()
    return path if path.is_dir() else preset_directory(name)
