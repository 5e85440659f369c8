"""What one process opens once and every stage shares: database, models, worker threads, the device's lock."""

import fcntl
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from ctypes import CDLL
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.decoding.child_process.decoder import ClipDecoder
from core.errors import CheckpointMismatch
from core.presets import preset_directory
from db.embeddings import NewEmbeddingModel, ensure_embedding_model
from db.engine import make_engine, session_scope
from db.model_registry import ensure_codec, ensure_llm, registered_codec
from flows.pipeline.configuration.home import close_home
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.database import writer_url
from flows.pipeline.runtime.fingerprints import codec_fingerprint, llm_fingerprint
from flows.pipeline.runtime.otlp import send_traces
from flows.pipeline.runtime.termination import end_after_sigterm
from flows.pipeline.storage import Readable, Storage, open_storage
from flows.pipeline.storage.s3.process import Reader
from flows.pipeline.storage.uris import is_s3

if TYPE_CHECKING:  # torch takes seconds to import, which ingesting and exporting need not wait for
    from core.codec import LLMCodec
    from core.embeddings.description import EmbeddingDescription
    from core.embeddings.embedder import Embedder
    from core.llama.files import DType
    from core.llama.model import FrozenLlama
    from core.tokens.vocabulary import TextTokenizer, Vocabulary

_side_by_side: ContextVar[int] = ContextVar("side_by_side", default=1)
_counting = Lock()


@contextmanager
def computing_side_by_side(batches: int) -> Iterator[None]:
    """Batches that are given to threads inside share out the cores, as so many compute at once.

    Each keeps to its part while another one reads or writes: what it computes must not depend on that.
    """
    token = _side_by_side.set(batches)
    try:
        yield
    finally:
        _side_by_side.reset(token)


def _take_cores() -> None:
    """Were each of several batches to use all cores, their threads would wait within every small product."""
    import torch

    with _counting:
        cores = _all_cores()
    torch.set_num_threads(max(1, cores // _side_by_side.get()))


@lru_cache(maxsize=1)
def _all_cores() -> int:
    """As torch sees it before anything is shared out: what one thread sets, new ones take over."""
    import torch

    return torch.get_num_threads()


class Runtime:
    """The shared parts of one process, each opened when it is first asked for; closed by `close`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._reader = Reader(settings)
        self._thread = local()
        self._decoders: list[ClipDecoder] = []
        self.batch_limits: dict[str, int] = {}
        """By step on models the largest batch that it still tries, after a larger one ran out of memory."""

    @cached_property
    def database_url(self) -> str:
        """Writer's address of the migrated database; the embedded server is started where none is set."""
        return writer_url(self.settings)

    @cached_property
    def engine(self) -> Engine:
        """Connections as writer."""
        return make_engine(self.database_url)

    def storage(self, place: str) -> Storage:
        """The store of a place."""
        return open_storage(place, self.settings)

    def readable(self, place: str) -> Readable:
        """Where many objects of a place are read: those of S3 in a process of its own."""
        return self._reader if is_s3(place) else self.storage(place)

    @cached_property
    def downloads(self) -> ThreadPoolExecutor:
        """Threads that wait for storage."""
        return ThreadPoolExecutor(self.settings.download_threads, thread_name_prefix="download")

    @cached_property
    def decoding(self) -> ThreadPoolExecutor:
        """Threads that decode and resample, each with a decoding child process of its own."""
        return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode", initializer=self._add_decoder)

    def _add_decoder(self) -> None:
        self._thread.decoder = ClipDecoder(self.settings.audio_limits)
        self._decoders.append(self._thread.decoder)

    @property
    def decoder(self) -> ClipDecoder:
        """The decoder of this thread, which must be one of `decoding`."""
        decoder: ClipDecoder = self._thread.decoder
        return decoder

    @cached_property
    def device(self) -> str:
        """`auto` is CUDA where there is one."""
        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if _has_cuda() else "cpu"

    @cached_property
    def codec_directory(self) -> Path:
        """Where the codec of the settings lies."""
        return model_directory(self.settings.codec)

    @cached_property
    def codec(self) -> "LLMCodec":
        """The codec of the settings."""
        from core.codec import LLMCodec

        return LLMCodec.from_directory(self.codec_directory, self.device)

    @cached_property
    def codec_fingerprint(self) -> str:
        """The codec's fingerprint; the codec is loaded only where its files are new here."""
        return codec_fingerprint(self.settings.home, self.codec_directory, lambda: self.codec.fingerprint)

    @cached_property
    def codec_id(self) -> int:
        """Its row, made when the codec is new."""
        with session_scope(self.engine) as session:
            known = registered_codec(session, self.codec_fingerprint)
        return self._register_codec() if known is None else known

    def _register_codec(self) -> int:
        config = asdict(self.codec.config)
        words = (self.codec.words, *self._acoustic_words())
        with session_scope(self.engine) as session:
            return ensure_codec(session, self.codec.fingerprint, self.settings.codec, config, words)

    @cached_property
    def embedding_models(self) -> "dict[Path, EmbeddingDescription]":
        """The embedding models of the settings by directory, each once, read without their networks."""
        from core.embeddings.description import read_description

        directories = [Path(name).expanduser() for name in self.settings.embeddings]
        found = {directory: read_description(directory) for directory in directories}
        first = {found[directory].fingerprint: directory for directory in reversed(directories)}
        return {directory: one for directory, one in found.items() if first[one.fingerprint] == directory}

    @cached_property
    def embedding_model_ids(self) -> list[int]:
        """Their rows, made for those that are new."""
        with session_scope(self.engine) as session:
            return [_register_embedding(session, one) for one in self.embedding_models.values()]

    @cached_property
    def embedders(self) -> "list[Embedder]":
        """Their networks; raises CheckpointMismatch for one of another rate than the codec's."""
        from core.embeddings.embedder import Embedder

        rate = self.codec.config.sample_rate
        for directory, description in self.embedding_models.items():
            if description.sample_rate != rate:
                raise CheckpointMismatch(
                    f"the embedding model {directory} takes {description.sample_rate} Hz, and a clip is read "
                    f"once, at the codec's {rate} Hz: leave it out of WORDWAVE_EMBEDDINGS"
                )
        return [Embedder(one, device=self.device, threads=_all_cores()) for one in self.embedding_models]

    @cached_property
    def vocabulary(self) -> "Vocabulary":
        """The codec's words as ids of the LLM's tokenizer.

        Raises CheckpointMismatch when codec and LLM come with different tokenizers, or the LLM with none.
        """
        return self._vocabulary(self.settings.llm)

    @cached_property
    def generation_vocabulary(self) -> "Vocabulary":
        """The same for the LLM that answers with audio."""
        return self._vocabulary(self.settings.generation_llm)

    def _vocabulary(self, name: str | None) -> "Vocabulary":
        from core.codec.files.directory import directory_words
        from core.llama.files import read_size, read_tokenizer
        from core.tokens.vocabulary import Vocabulary

        tokenizer = None
        if name is not None:
            directory = model_directory(name)
            tokenizer = read_tokenizer(directory, read_size(directory).vocab_size)
        if tokenizer is None:
            raise CheckpointMismatch(f"{name} has no tokenizer.model: prompts need LLAMA's own")
        if self.tokenizer is None and (rows := self.codec.config.codebook_sizes[1]) != len(tokenizer):
            raise CheckpointMismatch(
                f"the codec {self.settings.codec} has acoustic codebooks of {rows} rows, the tokenizer of "
                f"{name} has {len(tokenizer)} pieces: the codes of one are not the words of the other"
            )
        if self.tokenizer and self.tokenizer.sha256 != tokenizer.sha256:
            raise CheckpointMismatch(
                f"the codec {self.settings.codec} and the LLM {name} have different tokenizers: "
                "their ids mean different words"
            )
        return Vocabulary(directory_words(self.codec_directory), tokenizer)

    @cached_property
    def tokenizer(self) -> "TextTokenizer | None":
        """The tokenizer whose pieces the codec's acoustic layers index, where its directory has it."""
        from core.codec.files.directory import TOKENIZER
        from core.tokens.vocabulary import TextTokenizer

        path = self.codec_directory / TOKENIZER
        return TextTokenizer(path) if path.is_file() else None

    def _acoustic_words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The acoustic layers index the LLM's own pieces."""
        if self.tokenizer is None:
            return (), ()
        if (pieces := len(self.tokenizer)) != self.codec.config.codebook_sizes[1]:
            raise CheckpointMismatch(
                f"{self.codec_directory} has a tokenizer of {pieces} pieces for acoustic codebooks of "
                f"{self.codec.config.codebook_sizes[1]} rows"
            )
        words = tuple(map(self.tokenizer.piece, range(pieces)))
        return words, words

    @cached_property
    def llama(self) -> "FrozenLlama | None":
        """The LLM of the settings; None where labels come from nearest neighbour on tokens."""
        return None if self.settings.llm is None else self._frozen_llama(self.settings.llm)

    @cached_property
    def generation_llama(self) -> "FrozenLlama | None":
        """The LLM that answers with audio, None where none is set; it may be the same."""
        name = self.settings.generation_llm
        if name == self.settings.llm:
            return self.llama
        return None if name is None else self._frozen_llama(name)

    def _frozen_llama(self, name: str) -> "FrozenLlama":
        # core.llama.model comes first: it lets transformers find its torchaudio
        from transformers.utils.logging import disable_progress_bar

        from core.llama.model import FrozenLlama

        disable_progress_bar()
        return FrozenLlama.from_directory(model_directory(name), device=self.device, dtype=self.llm_dtype)

    @property
    def llm_dtype(self) -> "DType":
        """`auto` is bfloat16 on a GPU, float32 on a CPU."""
        if self.settings.llm_dtype != "auto":
            return self.settings.llm_dtype
        return "bfloat16" if self.device.startswith("cuda") else "float32"

    @cached_property
    def llm_fingerprint(self) -> str | None:
        """The LLM's fingerprint, None where there is no LLM."""
        return self._fingerprint(self.settings.llm)

    @cached_property
    def generation_fingerprint(self) -> str | None:
        """That of the LLM that answers with audio, None where there is none."""
        return self._fingerprint(self.settings.generation_llm)

    def _fingerprint(self, name: str | None) -> str | None:
        return (
            None
            if name is None
            else llm_fingerprint(self.settings.home, model_directory(name), self.llm_dtype)
        )

    @cached_property
    def llm_id(self) -> int | None:
        """Its row, made when the LLM is new."""
        return self._llm_row(self.llm_fingerprint, self.settings.llm)

    @cached_property
    def generation_llm_id(self) -> int | None:
        """The row of the LLM that answers with audio, made when it is new."""
        return self._llm_row(self.generation_fingerprint, self.settings.generation_llm)

    def _llm_row(self, fingerprint: str | None, name: str | None) -> int | None:
        if fingerprint is None:
            return None
        with session_scope(self.engine) as session:
            return ensure_llm(session, fingerprint, str(name))

    @contextmanager
    def device_lock(self) -> Iterator[None]:
        """One computation at a time on a GPU, over all processes of this machine.

        On a CPU those of several batches go on side by side, each on its part of the cores. The kernel frees
        a flock when its process dies, however it dies.
        """
        folder = self.settings.home / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"device-{self.device.replace(':', '-')}", "w") as file:
            fcntl.flock(file, fcntl.LOCK_SH if self.device == "cpu" else fcntl.LOCK_EX)
            if self.device == "cpu":
                _take_cores()
            yield

    def close(self) -> None:
        """Ends threads, child processes and connections."""
        for name in ("downloads", "decoding"):
            if name in self.__dict__:
                getattr(self, name).shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()
        self._reader.close()
        if "engine" in self.__dict__:
            self.engine.dispose()


def _register_embedding(session: Session, description: "EmbeddingDescription") -> int:
    new = NewEmbeddingModel(
        fingerprint=description.fingerprint,
        name=description.name,
        dimensions=description.dimensions,
        window=description.window / description.sample_rate,
        hop=description.hop / description.sample_rate,
        license=description.license,
        classes=description.classes,
    )
    return ensure_embedding_model(session, new)


def _has_cuda() -> bool:
    """Ask torch, which takes seconds to import, only where the driver is installed."""
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def model_directory(name: str) -> Path:
    """A model's folder: a path as it is, else the preset of that name."""
    path = Path(name).expanduser()
    return path if path.is_dir() else preset_directory(name)


@lru_cache(maxsize=1)
def shared_runtime(settings: Settings) -> Runtime:
    """The one runtime of this process: models are loaded once, however many tasks and flows run in it."""
    end_after_sigterm()
    close_home(settings)
    send_traces()
    logging.captureWarnings(settings.log_format == "json")
    return Runtime(settings)
