"""Frozen encoders of a teacher, from directories of the user: Whisper for frames, another for sentences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from core.embeddings.description import file_sha256
from core.errors import CheckpointMismatch
from core.llama.huggingface import transformers
from core.training.data.families import Samples

WEIGHTS = "model.safetensors"
WHISPER_RATE, FRAME_SAMPLES = 16_000, 320
SILENT_FRAMES = 25
"""Half a second of silence behind a clip: the encoder expects 30 s, of which speech is the beginning."""
MAX_TOKENS = 77
SENTENCES_A_BATCH = 32


class WhisperFrames:
    """Whisper's encoder, 50 frames a second.

    A clip is encoded with a little silence behind it instead of up to 30 s, which takes a tenth of the time.
    Longer clips are encoded in stretches.
    """

    def __init__(self, directory: Path, device: str = "cpu") -> None:
        self.sha256 = weights_sha256(directory)
        self._features = transformers.WhisperFeatureExtractor.from_pretrained(
            directory, local_files_only=True
        )
        model: Any = transformers.WhisperModel.from_pretrained(directory, local_files_only=True)
        self._encoder, self._device = model.encoder.float().to(device).eval(), device
        self.width: int = model.config.d_model
        self._longest: int = model.config.max_source_positions - SILENT_FRAMES

    @torch.no_grad()
    def frames(self, samples: Samples) -> Tensor:
        """Return (F, D) for (T,) at 16 kHz, a frame for each 320 samples that have begun."""
        step = self._longest * FRAME_SAMPLES
        return torch.cat([self._stretch(samples[at : at + step]) for at in range(0, len(samples), step)])

    def _stretch(self, samples: Samples) -> Tensor:
        count = -(-len(samples) // FRAME_SAMPLES)
        heard = self._features(
            samples,
            sampling_rate=WHISPER_RATE,
            padding="max_length",
            max_length=FRAME_SAMPLES * (count + SILENT_FRAMES),
            return_tensors="pt",
        )
        mel = heard.input_features.to(self._device)
        encoder = self._encoder
        hidden = functional.gelu(encoder.conv1(mel))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = _first(layer(hidden, None))
        frames: Tensor = encoder.layer_norm(hidden)[0, :count].cpu()
        return frames


def _first(output: Any) -> Tensor:
    """Return the hidden states of a layer, which some versions of transformers put into a tuple."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


class SentenceEncoder:
    """A BERT whose mean over a sentence's pieces, at length 1, is its vector, such as all-MiniLM-L6-v2."""

    def __init__(self, directory: Path, device: str = "cpu") -> None:
        self.sha256 = weights_sha256(directory)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
        model: Any = transformers.AutoModel.from_pretrained(
            directory, local_files_only=True, use_safetensors=True
        )
        self._model, self._device = model.float().to(device).eval(), device

    @torch.no_grad()
    def vectors(self, sentences: Sequence[str]) -> Tensor:
        """Return (N, D)."""
        starts = range(0, len(sentences), SENTENCES_A_BATCH)
        return torch.cat([self._batch(sentences[at : at + SENTENCES_A_BATCH]) for at in starts])

    def _batch(self, sentences: Sequence[str]) -> Tensor:
        pieces = self._tokenizer(
            list(sentences), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        hidden = self._model(**pieces).last_hidden_state
        mask = pieces["attention_mask"].to(hidden).unsqueeze(-1)
        vectors: Tensor = functional.normalize((hidden * mask).sum(1) / mask.sum(1)).cpu()
        return vectors


def weights_sha256(directory: Path) -> str:
    """Return the sha256 of a directory's weights. Raises CheckpointMismatch without them."""
    path = directory / WEIGHTS
    if not path.is_file():
        raise CheckpointMismatch(f"{directory} has no {WEIGHTS}: a teacher's weights must be safetensors")
    return file_sha256(path)
