"""The configuration of a codec training (core/training/configs).

The paper gives no loss weights and the released code no training script, so every number is in the file.
`distance`, `gan`, learning rate and schedule say which of the two is followed where they differ.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.codec.config import CodecConfig
from core.training.codec.discriminator import HIDDEN_WIDTHS
from core.training.codec.losses import Distance, Gan
from core.training.data.clips import BankSpec

WAVEFORM_LOSSES = ("waveform", "stft", "sub_band", "adversarial", "feature")
SPECTRUM_LOSSES = ("mel", "magnitude", "loudness", "envelope")
LOSSES = (*WAVEFORM_LOSSES, *SPECTRUM_LOSSES, "commitment", "codebook", "semantic", "consistency")


@dataclass(frozen=True)
class CodebookSource:
    """Source of the codebooks; paths are relative to the configuration file.

    `embeddings` is a safetensors file with one table, the LLM's. The first layer has one row for each line of
    `words`, the mean of its ids' vectors; without `words` it is the whole table, like the others. Without
    `embeddings` the codebooks are random, of the sizes in the codec configuration (the paper's baselines).
    `update` trains the vectors too.
    """

    embeddings: str | None = None
    words: str | None = None
    tokenizer: str | None = None
    update: bool = False


@dataclass(frozen=True)
class DataSource:
    """A rule-made `bank` with recorded `sets`, or a `manifest`; `shares` says how often each kind is
    drawn.
    """

    bank: BankSpec | None = None
    sets: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    manifest: str | None = None
    voice: str | None = None
    """Directory of a Piper voice, which says the bank's `voice_phrases`."""


@dataclass(frozen=True)
class TeacherSource:
    """Directories of frozen encoders, relative to the configuration file; for what is None, stand-ins are
    fitted to the bank.

    With both `t5` and `whisper`, these hear every crop, as in the paper. Otherwise features of `whisper`, of
    `sentences` (a BERT for sentences) and of `tagger` (an embedding model's directory) are computed once for
    each clip. `tagger` is an extension of the paper's method.
    """

    t5: str | None = None
    whisper: str | None = None
    sentences: str | None = None
    tagger: str | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of one training. A step is one update, from `accumulate` batches of `batch` crops."""

    codec: CodecConfig
    codebooks: CodebookSource
    data: DataSource
    teachers: TeacherSource
    weights: dict[str, float]
    steps: int
    warmup_steps: int
    """Steps without quantization; then the projections are matched to the latents."""
    batch: int
    crop_blocks: int
    learning_rate: float
    schedule: Literal["cosine", "exponential"]
    start_from: str | None = None
    """Directory of a codec of this shape and with these codebooks, relative to the configuration file, whose
    weights the training begins with (None: random ones).
    """
    accumulate: int = 1
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    decay: float = 1.0
    """Factor of the exponential schedule, per step."""
    cosine_steps: int | None = None
    """Steps of the cosine schedule (None: all)."""
    cooldown_steps: int = 0
    """Steps at the end with a linear fall to 0, so that a training can end before its cosine does."""
    clip_norm: float = 5.0
    distance: Distance = "mse"
    gan: Gan = "hinge"
    discriminator_widths: tuple[int, ...] = HIDDEN_WIDTHS
    precision: Literal["float32", "bfloat16"] = "float32"
    augment: bool = False
    seed: int = 0
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.weights) - set(LOSSES)):
            raise ValueError(f"unknown losses {unknown}; known are {LOSSES}")
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                f"warm-up of {self.warmup_steps} steps: it must be shorter than all {self.steps}"
            )
        if self.start_from and self.warmup_steps:
            raise ValueError(
                f"warm-up of {self.warmup_steps} steps for a codec that starts from {self.start_from}: "
                "without quantization it would forget its codes; set warmup_steps to 0"
            )

    @classmethod
    def from_json(cls, path: Path) -> "TrainingConfig":
        """Read a file on top of its `base`, if it names one, so that an ablation states only its changes.

        Raises TypeError for an unknown field and ValueError for an impossible value.
        """
        values: dict[str, Any] = _tuples(_read(path))
        data = dict(values["data"])
        if data.get("bank"):
            data["bank"] = BankSpec(**data["bank"])
        parts = {
            "codec": CodecConfig(**values["codec"]),
            "codebooks": CodebookSource(**values["codebooks"]),
            "data": DataSource(**data),
            "teachers": TeacherSource(**values["teachers"]),
        }
        return cls(**(values | parts))

    def weighs(self, losses: Iterable[str]) -> bool:
        """Return whether any of the losses has a weight."""
        return any(self.weights.get(name, 0.0) > 0 for name in losses)

    @property
    def crop_length(self) -> int:
        """Samples of a crop."""
        return self.crop_blocks * self.codec.block_length


def _read(path: Path) -> dict[str, Any]:
    """Return the values of a file merged into those of its base."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    base = values.pop("base", None)
    return _laid_over(_read(path.parent / base), values) if base else values


def _laid_over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    both = {name: value for name, value in values.items() if isinstance(value, dict) and name in base}
    return base | values | {name: _laid_over(base[name], value) for name, value in both.items()}


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return value
