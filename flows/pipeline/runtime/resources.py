"""Resources that a process opens once and all stages share: database, models, threads, device lock."""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from ctypes import CDLL
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.codec.config import N_FFT, CodecConfig
from core.codec.files.directory import Shape, read_shape
from core.decoding.child_process.decoder import ClipDecoder
from core.embeddings import log_mel_model
from core.errors import CheckpointMismatch
from db.embeddings import NewEmbeddingModel, ensure_embedding_model
from db.engine import make_engine, session_scope
from db.model_registry import ensure_codec, registered_codec
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.database import writer_url
from flows.pipeline.runtime.fingerprints import codec_fingerprint
from flows.pipeline.runtime.language_model import LanguageModel, model_directory
from flows.pipeline.runtime.otlp import send_traces
from flows.pipeline.runtime.termination import end_after_sigterm
from flows.pipeline.storage import Readable, Storage, open_storage
from flows.pipeline.storage.s3.process import Reader
from flows.pipeline.storage.uris import is_s3

if TYPE_CHECKING:  # torch takes seconds to import, which ingesting and exporting need not wait for
    from core.audio.denoiser import Denoiser
    from core.codec.files.opening import AnyCodec
    from core.embeddings.description import EmbeddingDescription
    from core.embeddings.embedder import Embedder
    from core.evaluation.whisper import Whisper
    from core.llama.files import DType
    from core.tokens.vocabulary import TextTokenizer

LOG_MEL_MODEL = NewEmbeddingModel(
    fingerprint=log_mel_model.FINGERPRINT,
    name=log_mel_model.LOG_MEL,
    dimensions=log_mel_model.DIMENSIONS,
    window=N_FFT / log_mel_model.SAMPLE_RATE,
    hop=log_mel_model.HOP_LENGTH / log_mel_model.SAMPLE_RATE,
    license="Apache-2.0",
    classes=(),
)


@dataclass(frozen=True)
class KnownEmbedding:
    """An embedding model by its row; a tagger has `classes`."""

    id: int
    fingerprint: str
    classes: Sequence[str]


_side_by_side: ContextVar[int] = ContextVar("side_by_side", default=1)
_counting = Lock()


BATCHES_AT_ONCE = 2
"""While one reads or writes, another computes; both compute on their part of the cores."""


@contextmanager
def computing_side_by_side(batches: int) -> Iterator[None]:
    """Split the cores between batches that threads compute at the same time inside this block.

    A batch keeps to its part while another one reads or writes: its results must not depend on that.
    """
    token = _side_by_side.set(batches)
    try:
        yield
    finally:
        _side_by_side.reset(token)


def _take_cores() -> None:
    """Limit torch to this batch's part of the cores: threads of two batches would slow each other down."""
    import torch

    with _counting:
        cores = _all_cores()
    torch.set_num_threads(max(1, cores // _side_by_side.get()))


@lru_cache(maxsize=1)
def _all_cores() -> int:
    """Return torch's number of threads before any limit: new threads inherit a limit that one sets."""
    import torch

    return torch.get_num_threads()


class Runtime:
    """The shared resources of a process, each opened at its first use. Call `close` at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._reader = Reader(settings)
        self._thread = local()
        self._decoders: list[ClipDecoder] = []
        self.batch_limits: dict[str, int] = {}
        """The largest batch of each model step, once a larger one ran out of memory."""

    @cached_property
    def database_url(self) -> str:
        """The writer's address of the migrated database. Starts the embedded server if none is set."""
        return writer_url(self.settings)

    @cached_property
    def engine(self) -> Engine:
        """The connections of the writer."""
        return make_engine(self.database_url)

    def storage(self, place: str) -> Storage:
        """Open the storage of a place."""
        return open_storage(place, self.settings)

    def readable(self, place: str) -> Readable:
        """Return the reader for many objects of a place. S3 objects are read in a process of their own."""
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
        """The device that computes; `auto` means CUDA if there is a GPU."""
        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if _has_cuda() else "cpu"

    @cached_property
    def codec_directory(self) -> Path:
        """The directory of the codec."""
        return model_directory(self.settings.codec)

    @cached_property
    def codec_config(self) -> Shape:
        """The shape of the codec, read without its weights."""
        return read_shape(self.codec_directory)

    @property
    def code_seconds(self) -> float:
        """The time under a semantic code."""
        config = self.codec_config
        return config.block_length / config.codes_per_block[0] / config.sample_rate

    @cached_property
    def codec(self) -> "AnyCodec":
        """The codec of the settings."""
        from core.codec.files.opening import open_codec

        return open_codec(self.codec_directory, self.device)

    @cached_property
    def codec_fingerprint(self) -> str:
        """The codec's fingerprint. The codec is loaded for it only if its files are new on this machine."""
        return codec_fingerprint(self.settings.home, self.codec_directory, lambda: self.codec.fingerprint)

    @cached_property
    def codec_id(self) -> int:
        """The id of the codec's row, which is made if the codec is new."""
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
    def known_embeddings(self) -> dict[str, "KnownEmbedding"]:
        """All embeddings that clips have or get, by name: the log-mel statistics first.

        Raises CheckpointMismatch for two models of one name.
        """
        known = {}
        if self.log_mel_id is not None:
            known[LOG_MEL_MODEL.name] = KnownEmbedding(self.log_mel_id, LOG_MEL_MODEL.fingerprint, ())
        for model_id, one in zip(self.embedding_model_ids, self.embedding_models.values(), strict=True):
            if one.name in known:
                raise CheckpointMismatch(
                    f"two embedding models are called {one.name}, by which labelers name them: change the "
                    "name in one embedding.json, or leave one out of WORDWAVE_EMBEDDINGS"
                )
            known[one.name] = KnownEmbedding(model_id, one.fingerprint, one.classes)
        return known

    @cached_property
    def log_mel_id(self) -> int | None:
        """The row of the log-mel statistics, which need no model; None for a codec of another rate."""
        if self.codec_config.sample_rate != log_mel_model.SAMPLE_RATE:
            return None
        with session_scope(self.engine) as session:
            return ensure_embedding_model(session, LOG_MEL_MODEL)

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
    def denoiser(self) -> "Denoiser | None":
        """The denoiser of the settings, None where it is not installed or none is set."""
        from core.audio.deepfilter import find_deepfilter

        return find_deepfilter() if self.settings.denoiser else None

    @cached_property
    def whisper(self) -> "Whisper | None":
        """The judge of speech, None where it is not installed."""
        from core.evaluation.whisper import find_whisper

        return find_whisper()

    @cached_property
    def tokenizer(self) -> "TextTokenizer | None":
        """The tokenizer whose pieces the codec's acoustic layers index, None if its directory has none."""
        from core.codec.files.directory import TOKENIZER
        from core.tokens.vocabulary import TextTokenizer

        path = self.codec_directory / TOKENIZER
        return TextTokenizer(path) if path.is_file() else None

    @property
    def is_llm_codec(self) -> bool:
        """Whether the codec is an LLM-Codec, whose acoustic codes are token ids; others only have codes."""
        return isinstance(self.codec_config, CodecConfig)

    def _acoustic_words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the words of both acoustic layers: the pieces of the LLM's tokenizer."""
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
    def llm(self) -> LanguageModel | None:
        """The LLM that labels, None if labels come from nearest neighbor on tokens."""
        return None if self.settings.llm is None else self._open_llm(self.settings.llm)

    @cached_property
    def audio_llm(self) -> LanguageModel | None:
        """The LLM that answers with audio, None if none is set. It may be the one that labels."""
        name = self.settings.generation_llm
        if name == self.settings.llm:
            return self.llm
        return None if name is None else self._open_llm(name)

    def _open_llm(self, name: str) -> LanguageModel:
        return LanguageModel(self, name)

    @property
    def llm_dtype(self) -> "DType":
        """The dtype of LLMs; `auto` means bfloat16 on a GPU, float32 on a CPU."""
        if self.settings.llm_dtype != "auto":
            return self.settings.llm_dtype
        return "bfloat16" if self.device.startswith("cuda") else "float32"

    @contextmanager
    def device_lock(self) -> Iterator[None]:
        """Hold the device: all processes of this machine take turns on a GPU.

        On a CPU several batches compute at the same time, each on its part of the cores. The kernel frees a
        flock when its process dies, however it dies.
        """
        folder = self.settings.home / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / _lock_name(self.device), "w") as file:
            fcntl.flock(file, fcntl.LOCK_SH if self.device == "cpu" else fcntl.LOCK_EX)
            if self.device == "cpu":
                _take_cores()
            yield

    def close(self) -> None:
        """End threads, child processes and connections."""
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


def _lock_name(device: str) -> str:
    """Return the name of a device's lock: that of the GPU, which a process may see under another number."""
    if not device.startswith("cuda"):
        return f"device-{device}"
    number = device.partition(":")[2] or "0"
    seen = dict(enumerate(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))
    gpu = seen.get(int(number), "").strip() or number  # a number, or an id such as GPU-... or MIG-.../1/0
    return f"device-cuda-{gpu}".replace("/", "-")


def _has_cuda() -> bool:
    """Return whether there is a GPU. Imports torch, which takes seconds, only if the driver is installed."""
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


@lru_cache(maxsize=1)
def shared_runtime(settings: Settings) -> Runtime:
    """Return the runtime of this process, so that its tasks and flows share the loaded models."""
    end_after_sigterm()
    logging.captureWarnings(settings.log_format == "json")
    return open_runtime(settings)


def open_runtime(settings: Settings) -> Runtime:
    """Return a runtime whose home is private, and whose traces are sent if any are."""
    settings.close_home()
    send_traces()
    return Runtime(settings)
