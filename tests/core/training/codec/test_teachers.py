"""Stand-ins that tell classes apart, and real encoders of toy size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.errors import CheckpointMismatch
from core.training.codec.teachers import TEXT_SCALE, MelTeacher, discriminant_vectors
from core.training.data.families import Samples


class Tones:
    """Four classes of three clips: a pitch each, loudness at random."""

    weights = torch.ones(12)

    def samples(self, index: int) -> Samples:
        rng = np.random.default_rng(index)
        pitch = 300.0 * 2 ** (index // 3)
        tone = np.sin(2 * np.pi * pitch * np.arange(9600) / 16000) + 0.01 * rng.standard_normal(9600)
        samples: Samples = (rng.uniform(0.05, 0.9) * tone).astype(np.float32)
        return samples

    def text(self, index: int) -> str:
        return f"tone {index // 3}"

    caption = text


@pytest.fixture(scope="module")
def teacher() -> MelTeacher:
    return MelTeacher(Tones(), 12, sample_rate=16000, hop_length=480, stride=4, dim=8)


def nearest_other(vectors: Tensor) -> list[int]:
    distances = torch.cdist(vectors, vectors) + torch.diag(torch.full((len(vectors),), torch.inf))
    return distances.argmin(1).tolist()


def test_clips_of_one_class_lie_together(teacher: MelTeacher) -> None:
    vectors = teacher.text(range(12))
    assert vectors.shape == (12, 8)
    assert all(found // 3 == index // 3 for index, found in enumerate(nearest_other(vectors)))
    assert float(vectors.square().mean().sqrt()) == pytest.approx(TEXT_SCALE, rel=1e-4)


def test_what_parts_classes_outweighs_what_is_merely_loud() -> None:
    """A wide direction that says nothing of the class is put behind a narrow one that does."""
    generator = torch.Generator().manual_seed(0)
    loud = 100 * torch.randn(40, 1, generator=generator)
    telling = torch.arange(40).remainder(2).unsqueeze(1) + 0.01 * torch.randn(40, 1, generator=generator)
    vectors = discriminant_vectors(torch.cat((loud, telling), 1), [str(n % 2) for n in range(40)], 2)
    assert all(found % 2 == index % 2 for index, found in enumerate(nearest_other(vectors[:, :1])))


def test_frames_say_only_how_the_sound_changes_within_a_semantic_code(teacher: MelTeacher) -> None:
    frames = teacher.frames(0.1 * torch.randn(2, 1, 7680))
    assert frames.shape == (2, 8, 16)
    torch.testing.assert_close(frames.unflatten(2, (4, 4)).mean(-1), torch.zeros(2, 8, 4), atol=1e-5, rtol=0)


def test_the_same_clips_make_the_same_teacher(teacher: MelTeacher) -> None:
    again = MelTeacher(Tones(), 12, sample_rate=16000, hop_length=480, stride=4, dim=8)
    assert torch.equal(again.text(range(12)), teacher.text(range(12)))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write directories of a T5 and a Whisper with random weights, 32 wide."""
    import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

    # isort: split
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        T5Config,
        T5EncoderModel,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperModel,
    )

    folder = tmp_path_factory.mktemp("teachers")
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "tone": 2, "0": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    tokenizer.save_pretrained(folder / "t5")
    shape = {"d_model": 32, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 1}
    T5EncoderModel(T5Config(vocab_size=4, **shape)).save_pretrained(folder / "t5")
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    config = WhisperConfig(vocab_size=8, d_model=32, pad_token_id=0, decoder_attention_heads=2, **layers)
    WhisperModel(config).save_pretrained(folder / "whisper")
    WhisperFeatureExtractor().save_pretrained(folder / "whisper")
    return folder / "t5", folder / "whisper"


def test_frozen_encoders_give_a_vector_a_text_and_fifty_frames_a_second(encoders: tuple[Path, Path]) -> None:
    from core.training.codec.frozen_teachers import FrozenTeacher

    teacher = FrozenTeacher(*encoders, Tones(), dim=32, device="cpu")
    vectors = teacher.text([0, 1, 3])
    assert vectors.shape == (3, 32)
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])
    frames = teacher.frames(torch.zeros(2, 1, 11520))
    assert frames.shape == (2, 32, 36)
    assert not frames.requires_grad


def test_an_encoder_of_another_width_is_refused(encoders: tuple[Path, Path]) -> None:
    from core.training.codec.frozen_teachers import FrozenTeacher

    with pytest.raises(CheckpointMismatch, match="32 wide, the latent 64"):
        FrozenTeacher(*encoders, Tones(), dim=64, device="cpu")
