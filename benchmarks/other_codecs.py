"""EnCodec, DAC and Mimi as transformers has them, random weights in the shape of their defaults."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel, MimiConfig, MimiModel

DECODING = ("decoder", "upsample")
"""How the names of parts begin that only decoding uses."""


class OtherCodec(ABC):
    """A codec, one second of noise at its rate, and the codes of that."""

    name: str

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        self.second = 0.1 * torch.randn(1, 1, model.config.sampling_rate, generator=generator)
        self.encoded = self.encode()

    @torch.inference_mode()
    def encode(self) -> Any:
        """Return the codes of the second."""
        return self.model.encode(self.second)

    @abstractmethod
    def decode(self) -> Any:
        """Return samples from the codes."""

    def weights(self, direction: str) -> list[Tensor]:
        """Return the parameters that a direction reads, codebooks left out."""
        named = self.model.named_parameters()
        wanted = direction == "decode"
        return [t for n, t in named if not n.startswith("quantizer") and n.startswith(DECODING) == wanted]


class Encodec(OtherCodec):
    """facebook/encodec_24khz, at its lowest bandwidth as by default."""

    name = "EnCodec"

    def __init__(self) -> None:
        super().__init__(EncodecModel(EncodecConfig()))

    @torch.inference_mode()
    def decode(self) -> Any:
        return self.model.decode(self.encoded.audio_codes, self.encoded.audio_scales)


class Dac(OtherCodec):
    """descript/dac_16khz."""

    name = "DAC"

    def __init__(self) -> None:
        super().__init__(DacModel(DacConfig()))

    @torch.inference_mode()
    def decode(self) -> Any:
        return self.model.decode(self.encoded.quantized_representation)


class Mimi(OtherCodec):
    """kyutai/mimi."""

    name = "Mimi"

    def __init__(self) -> None:
        super().__init__(MimiModel(MimiConfig()))

    @torch.inference_mode()
    def decode(self) -> Any:
        return self.model.decode(self.encoded.audio_codes)


OTHERS: tuple[Callable[[], OtherCodec], ...] = (Encodec, Dac, Mimi)
