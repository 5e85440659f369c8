"""The operator's settings, read from WORDWAVE_* in the environment.

They name places, models, roots that may be read, and limits on audio. The choices of one run are parameters
of its flow (flows.forms), never settings. boto3 reads its own variables.
"""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.decoding.audio_stream import EXTRA_CODINGS, AudioLimits
from db.private import private_folder
from flows.pipeline.configuration.credentials import mask_url, refuse_credentials
from flows.pipeline.configuration.options import Rule

ENV_PREFIX = "WORDWAVE_"
RESULTS = "storage"
"""The folder of results in the working folder."""
MINI_CODEC, MINI_LLM, MINI_GENERATION_LLM = "mini-codec", "mini-llama", "mini-llama-audio"
"""Presets that belong together: another codec's words are not in the mini LLM's vocabulary."""

_LIMITS = AudioLimits()
_ORIGIN = Rule(
    r"https?://[A-Za-z0-9.:\[\]_-]+", "write scheme, host and port alone, such as https://listen.example"
)
_RAY = Rule(r"local|auto|[A-Za-z0-9.\[\]_:-]+:\d+", "write local, auto or HOST:PORT of the head node")
_DEVICE = Rule(r"auto|cpu|cuda(:\d+)?", "write auto, cpu, cuda or cuda:N")


def _split(value: object) -> object:
    """Split a comma-separated list. A comma in a folder's name is written %2C in a file:// URI."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _none_word(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _answering_with_audio(codec: str, llm: str | None) -> str | None:
    """Return the default LLM for audio: the mini LLM only labels, so another preset generates."""
    return MINI_GENERATION_LLM if (codec, llm) == (MINI_CODEC, MINI_LLM) else llm


def _known_coding(name: str) -> str:
    if name not in EXTRA_CODINGS:
        raise ValueError(f"{name!r} is not an extra coding; choose from {', '.join(EXTRA_CODINGS)}")
    return name


ExtraCoding = Annotated[str, AfterValidator(_known_coding)]
Place = Annotated[str, AfterValidator(refuse_credentials)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """The settings of one process. Field x is read from WORDWAVE_X; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, env_ignore_empty=True, hide_input_in_errors=True, extra="forbid"
    )

    home: Folder = Field(Path("~/.wordwave"), validate_default=True, description="working folder")
    database_url: SecretStr | None = Field(None, description="Postgres of the flows; unset: embedded")
    owner_database_url: SecretStr | None = Field(None, description="Postgres as owner, for migrations")
    analyst_database_url: SecretStr | None = Field(
        None, description="Postgres as analyst, for metrics; unset: as the flows, reading only"
    )
    forget_key: SecretStr | None = Field(
        None, min_length=16, description="key of the hashes of forgotten clips; unset: kept in the home"
    )
    storage_uri: Place = Field(
        default_factory=lambda data: str(data["home"] / RESULTS), description="where results are written"
    )
    explore_url: Annotated[str, AfterValidator(_ORIGIN.check)] | None = Field(
        None, description="address under which people open the pages to listen, for links to them"
    )
    price_per_hour: float | None = Field(
        None, ge=0, description="price of an hour in the models on this machine, for the cost of runs"
    )
    s3_endpoint_url: Place | None = Field(None, description="S3 server; unset: what boto3 finds")
    read_roots: Annotated[tuple[Place, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="what may be read: s3://bucket[/folder] and local folders, comma separated"
    )

    codec: str = Field(MINI_CODEC, description="codec: a directory or the name of a preset")
    llm: Annotated[str | None, BeforeValidator(_none_word)] = Field(
        default_factory=lambda data: MINI_LLM if data["codec"] == MINI_CODEC else None,
        description="LLM: a directory or the name of a preset; none: nearest neighbor on tokens",
    )
    generation_llm: Annotated[str | None, BeforeValidator(_none_word)] = Field(
        default_factory=lambda data: _answering_with_audio(data["codec"], data["llm"]),
        description="LLM that answers with audio; unset: the same, beside mini-llama mini-llama-audio",
    )
    embeddings: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="embedding models: directories, comma separated (docs/embeddings.md)"
    )
    denoiser: Annotated[Literal["deepfilter"] | None, BeforeValidator(_none_word)] = Field(
        "deepfilter", description="denoiser, where wordwave[denoise] is installed; none: without one"
    )
    llm_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )
    device: Annotated[str, AfterValidator(_DEVICE.check)] = Field(
        "auto", description="auto, cpu, cuda or cuda:N"
    )

    ray: Annotated[str, AfterValidator(_RAY.check)] | None = Field(
        None, description="Ray cluster that works on nights: its address, or local to start one; unset: none"
    )
    ray_actors: int | None = Field(
        None, ge=1, description="actors of Ray, each with its models; unset: one a GPU, else one a node"
    )

    batch_size: int = Field(100, ge=1, le=1000, description="clips of one batch")
    download_threads: int = Field(8, ge=1, le=64, description="objects read at once")
    download_timeout: float = Field(120, gt=0, description="seconds to read an object, beside its size")
    min_download_rate: float = Field(
        65_536, gt=0, description="bytes a second: an object's size over it is added to its seconds"
    )

    outage_timeout: float = Field(
        900, ge=0, description="seconds that a run waits for a store or database that is away"
    )
    outage_retries: int = Field(3, ge=0, le=100, description="how often a flow is retried after an outage")
    outage_retry_delay: float = Field(600, ge=0, description="seconds before each of these retries")

    max_bytes: int = Field(_LIMITS.max_bytes, gt=0, description="largest object that is read")
    min_duration: float = Field(_LIMITS.min_duration, ge=0, description="seconds")
    max_duration: float = Field(_LIMITS.max_duration, gt=0, description="seconds")
    min_sample_rate: int = Field(_LIMITS.min_sample_rate, gt=0, description="Hz")
    max_sample_rate: int = Field(_LIMITS.max_sample_rate, gt=0, description="Hz")
    max_kernel_bytes: int = Field(_LIMITS.max_kernel_bytes, gt=0, description="largest resampling kernel")
    max_channels: int = Field(_LIMITS.max_channels, ge=1, description="channels of a clip")
    max_expansion: float = Field(_LIMITS.max_expansion, ge=1, description="decoded over encoded bytes")
    min_bomb_bytes: int = Field(_LIMITS.min_bomb_bytes, ge=0, description="decoded bytes that are no bomb")
    min_peak_dbfs: float = Field(_LIMITS.min_peak_dbfs, lt=0, description="dBFS; quieter clips are silent")
    max_peak_dbfs: float = Field(_LIMITS.max_peak_dbfs, ge=0, description="dBFS; louder clips are refused")
    extra_codings: Annotated[tuple[ExtraCoding, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="codings beside the usual ones: " + ", ".join(EXTRA_CODINGS)
    )
    allow_silent: bool = Field(_LIMITS.allow_silent, description="answer silent clips too")
    decode_timeout: float = Field(_LIMITS.decode_timeout, gt=0, description="seconds to decode one clip")
    stall_timeout: float = Field(_LIMITS.stall_timeout, gt=0, description="seconds to decode one block")

    log_format: Literal["text", "json"] = Field("text", description="logs: text, or json, an object a line")

    test_data: Folder | None = Field(None, description="real audio for the tests that need it")

    @property
    def names_llm(self) -> bool:
        """Whether the user names an LLM, or none: the preset that labels counts as not named."""
        return "llm" in self.model_fields_set and self.llm != MINI_LLM

    @property
    def audio_limits(self) -> AudioLimits:
        """The limits on clips, from the settings of the same names."""
        return AudioLimits(**{field.name: getattr(self, field.name) for field in fields(AudioLimits)})

    def download_seconds(self, size: int | None) -> float:
        """Return the time limit for reading an object; an unknown size counts as the largest."""
        expected = self.max_bytes if size is None else min(size, self.max_bytes)
        return self.download_timeout + expected / self.min_download_rate

    def reading(self, *places: str) -> "Settings":
        """Return these settings with more places that may be read, such as those of a command line."""
        return self.model_copy(update={"read_roots": (*self.read_roots, *map(refuse_credentials, places))})

    def close_home(self) -> None:
        """Make the working folder, and the results in it, private to this user.

        It holds fingerprints of models and passwords. A place that `storage_uri` names keeps its permissions.
        """
        private_folder(self.home)
        if self.storage_uri == str(results := self.home / RESULTS):
            private_folder(results)

    def describe(self) -> dict[str, str]:
        """Return the values by variable for display: passwords masked, `-` if unset."""
        return {ENV_PREFIX + name.upper(): _shown(getattr(self, name)) for name in type(self).model_fields}


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, SecretStr):
        return mask_url(value.get_secret_value())
    return ", ".join(value) if isinstance(value, tuple) else str(value)
