"""The teachers of the full codec, loaded by transformers from local directories (paper, section 3.2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointMismatch
from core.llama.huggingface import transformers
from core.training.data.clips import Clips, Drawn

T5_LENGTH = 77
WHISPER_RATE, WHISPER_HOP = 16000, 320


class FrozenTeacher:
    """T5 and Whisper encoders from local directories (transformers); their width must equal the latent's.

    The vector of a text is the mean over T5's output for the whole transcript or label. Frames are Whisper's
    for the crop: 50 a second.
    """

    def __init__(self, t5: Path, whisper: Path, clips: Clips, *, dim: int, device: str) -> None:
        self._clips, self._device = clips, device
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(t5, local_files_only=True)
        encoder: Any = transformers.T5EncoderModel.from_pretrained(t5, local_files_only=True)
        self._t5 = encoder.to(device).eval()
        self._features = transformers.WhisperFeatureExtractor.from_pretrained(whisper, local_files_only=True)
        model: Any = transformers.WhisperModel.from_pretrained(whisper, local_files_only=True)
        self._whisper = model.encoder.to(device).eval()
        for name, width in (("T5", self._t5.config.d_model), ("Whisper", self._whisper.config.d_model)):
            if width != dim:
                raise CheckpointMismatch(
                    f"the {name} encoder is {width} wide, the latent {dim}: they must be equal"
                )

    @torch.no_grad()
    def text(self, clips: Sequence[int]) -> Tensor:
        texts = [self._clips.text(index) for index in clips]
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=T5_LENGTH, return_tensors="pt"
        )
        hidden = self._t5(**tokens.to(self._device)).last_hidden_state
        mask = tokens["attention_mask"].to(hidden).unsqueeze(-1)
        mean: Tensor = (hidden * mask).sum(1) / mask.sum(1)
        return mean

    @torch.no_grad()
    def frames(self, crops: Tensor, drawn: Drawn | None = None) -> Tensor:
        waveforms = [crop[0].cpu().numpy() for crop in crops]
        features = self._features(waveforms, sampling_rate=WHISPER_RATE, return_tensors="pt")
        hidden = self._whisper(features.input_features.to(self._device)).last_hidden_state
        kept: Tensor = hidden[:, : -(-crops.shape[-1] // WHISPER_HOP)].transpose(1, 2)
        return kept
