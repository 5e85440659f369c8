"""Features are computed once, follow a crop to its place in the clip, and teach a training that resumes."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.audio.resampling import wav_bytes
from core.codec import CodecConfig, LLMCodec
from core.errors import CheckpointMismatch
from core.llama.huggingface import transformers
from core.training.codec.config import TeacherSource
from core.training.codec.teachers import TEXT_SCALE
from core.training.codec.trainer import prepare, train_codec
from core.training.data.clips import Drawn
from core.training.data.families import Samples
from core.training.teachers import feature_store
from core.training.teachers.encoders import FRAME_SAMPLES, SILENT_FRAMES, SentenceEncoder, WhisperFrames
from core.training.teachers.feature_store import kept_features
from core.training.teachers.feature_teacher import FeatureTeacher, caption_vectors, joined_components
from core.training.teachers.installed import installed_teacher
from tests.core.training.codec.test_trainer import CONFIG
from tests.tiny_tagger import write_tagger

SENTENCES = ("a dog", "rain", "a dog in rain")


class NoTeacher:
    def text(self, clips: Sequence[int]) -> Tensor:
        return torch.full((len(clips), 2), 7.0)

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor:
        return torch.full((len(crops), 2, 3), 7.0)


class Captioned:
    def __init__(self, *captions: str) -> None:
        self.captions, self.weights, self.sha256 = captions, torch.ones(len(captions)), "0" * 64

    def samples(self, index: int) -> Samples:
        return np.zeros(960, np.float32)

    def text(self, index: int) -> str:
        return str(index)

    def caption(self, index: int) -> str:
        return self.captions[index]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write directories of a Whisper, a BERT and a tagger with random weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    layers = {"encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    whisper = transformers.WhisperConfig(
        vocab_size=8, d_model=16, pad_token_id=0, decoder_attention_heads=2, **layers
    )
    transformers.WhisperModel(whisper).save_pretrained(folder / "whisper")
    transformers.WhisperFeatureExtractor().save_pretrained(folder / "whisper")
    pieces = {"[PAD]": 0, "[UNK]": 1, "dog": 2, "rain": 3, "sound": 4}
    words = Tokenizer(models.WordLevel(pieces, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    )
    tokenizer.save_pretrained(folder / "sentences")
    shape = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=5, **shape)).save_pretrained(
        folder / "sentences"
    )
    return {name: folder / name for name in ("whisper", "sentences")}


def test_a_pass_that_was_stopped_goes_on_with_the_file_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "CLIPS_A_FILE", 4)
    asked: list[int] = []

    def features(number: int) -> Tensor:
        asked.append(number)
        if number == 6 and len(asked) < 9:
            raise KeyboardInterrupt
        return torch.full((number % 3, 2), float(number))

    with pytest.raises(KeyboardInterrupt):
        kept_features(tmp_path, 10, features)
    found = kept_features(tmp_path, 10, features)
    assert asked == [*range(7), *range(4, 10)]
    assert [one.shape for one in found] == [(number % 3, 2) for number in range(10)]
    assert all((one == number).all() for number, one in enumerate(found))
    assert len(kept_features(tmp_path, 10, features)) == 10
    assert len(asked) == 13


def test_frames_are_those_of_the_place_that_a_crop_is_from() -> None:
    heard = torch.arange(1.0, 9.0).unsqueeze(1)  # eight frames that say their number, counted from one
    teacher = FeatureTeacher(NoTeacher(), None, [heard.half()])
    crops = torch.zeros(5, 1, 4 * FRAME_SAMPLES)
    starts, speeds = (
        [0, 3 * FRAME_SAMPLES, -2 * FRAME_SAMPLES, 0, 6 * FRAME_SAMPLES],
        [1.0, 1.0, 1.0, 0.5, 1.0],
    )
    frames = teacher.frames(crops, Drawn([0] * 5, starts, speeds))
    assert frames[:, 0].tolist() == [
        [1, 2, 3, 4],
        [4, 5, 6, 7],
        [0, 0, 1, 2],
        [1, 1, 2, 2],
        [7, 8, 0, 0],
    ]


def test_a_crop_that_is_over_early_teaches_silence_behind_it() -> None:
    teacher = FeatureTeacher(NoTeacher(), None, [torch.ones(100, 1)])
    frames = teacher.frames(torch.zeros(1, 1, 8 * FRAME_SAMPLES), Drawn([0], [0], [1 / 0.86]))
    assert frames.flatten().tolist() == [1.0] * 7 + [0.0]


def test_what_has_no_encoder_is_taught_by_the_stand_in() -> None:
    crops, drawn = torch.zeros(2, 1, 960), Drawn([0, 1], [0, 0], [1.0, 1.0])
    teacher = FeatureTeacher(NoTeacher(), None, None)
    assert torch.equal(teacher.text([1, 0]), NoTeacher().text([1, 0]))
    assert torch.equal(teacher.frames(crops, drawn), NoTeacher().frames(crops, drawn))


def test_joined_vectors_keep_classes_apart_and_sources_even() -> None:
    generator = torch.Generator().manual_seed(0)
    member = torch.arange(40) % 4
    one = 1000 * torch.nn.functional.one_hot(member // 2, 9).float()
    other = torch.nn.functional.one_hot(member % 2, 5).float()
    noise = 0.01 * torch.randn(40, 5, generator=generator)
    vectors = joined_components([one - one.mean(0), other - other.mean(0) + noise], 3)
    assert vectors.shape == (40, 3)
    assert float(vectors.square().mean().sqrt()) == pytest.approx(TEXT_SCALE, rel=1e-4)
    distances = torch.cdist(vectors, vectors) + torch.diag(torch.full((40,), torch.inf))
    assert torch.equal(member[distances.argmin(1)], member)
    assert joined_components([other - other.mean(0)], 8).shape == (40, 8)


def test_clips_without_words_have_no_sentence(encoders: dict[str, Path]) -> None:
    vectors = caption_vectors(Captioned("dog", "", "rain", "dog"), SentenceEncoder(encoders["sentences"]))
    assert not vectors[1].any()
    assert torch.equal(vectors[0], vectors[3])
    assert vectors[[0, 2, 3]].mean(0).abs().max() < 1e-6
    with pytest.raises(ValueError, match="no clip has a caption"):
        caption_vectors(Captioned("", ""), SentenceEncoder(encoders["sentences"]))


def test_a_sentence_has_the_same_vector_alone_and_beside_longer_ones(encoders: dict[str, Path]) -> None:
    encoder = SentenceEncoder(encoders["sentences"])
    together = encoder.vectors(SENTENCES)
    for sentence, vector in zip(SENTENCES, together, strict=True):
        torch.testing.assert_close(encoder.vectors([sentence])[0], vector, atol=1e-5, rtol=0)
    assert torch.allclose(together.norm(dim=1), torch.ones(3))


def test_whisper_gives_fifty_frames_a_second_of_clips_of_any_length(encoders: dict[str, Path]) -> None:
    whisper = WhisperFrames(encoders["whisper"])
    samples = 0.1 * np.random.default_rng(0).standard_normal(31 * 16_000).astype(np.float32)
    assert whisper.frames(samples[:16_001]).shape == (51, 16)
    assert whisper.frames(samples).shape == (1_550, 16)
    longest = (1_500 - SILENT_FRAMES) * FRAME_SAMPLES
    expected = whisper._encoder(
        whisper._features(samples[:longest], sampling_rate=16_000, return_tensors="pt").input_features
    )
    given = whisper.frames(samples[:longest])
    torch.testing.assert_close(given, expected.last_hidden_state[0, : len(given)].detach(), atol=1e-5, rtol=0)


def test_a_directory_without_safetensors_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match="must be safetensors"):
        SentenceEncoder(tmp_path)


def test_a_teacher_of_another_rate_is_refused(encoders: dict[str, Path], tmp_path: Path) -> None:
    slow = CodecConfig(sample_rate=8_000)
    source, clips = TeacherSource(whisper=str(encoders["whisper"])), Captioned("dog")
    with pytest.raises(CheckpointMismatch, match="Whisper hears 16000 Hz, the codec 8000 Hz"):
        installed_teacher(source, tmp_path, clips, NoTeacher(), tmp_path / "out", slow, "cpu")


def test_a_training_with_teachers_that_was_cut_in_two_ends_in_the_same_codec(
    encoders: dict[str, Path], tmp_path: Path
) -> None:
    sources = {name: str(path) for name, path in encoders.items()}
    sources["tagger"] = str(write_tagger(tmp_path / "tagger"))
    values = {**CONFIG, "codebooks": {}, "augment": True}
    path = tmp_path / "config.json"

    def train(name: str, given: TeacherSource | None, **changes: object) -> str:
        path.write_text(json.dumps(values | changes))
        return LLMCodec.from_directory(train_codec(path, tmp_path / name, teachers=given)).fingerprint

    whole = train("whole", TeacherSource(**sources))
    train("cut", TeacherSource(**sources), steps=3, cosine_steps=6)
    shutil.rmtree(tmp_path / "cut" / "codec")
    assert train("cut", None, teachers=sources) == whole  # as the configuration names them
    assert train("without", None) != whole
    named = json.loads((tmp_path / "whole" / "teachers" / "teachers.json").read_text())
    assert set(named) == {"whisper", "sentences", "tagger"}
    assert all(named.values())


@pytest.mark.parametrize("left_out", [(), ("tagger", "sentences"), ("whisper",)], ids=str)
def test_a_prepared_training_needs_only_its_folder_and_ends_in_the_same_codec(
    left_out: tuple[str, ...], encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    write_tagger(tmp_path / "home" / "tagger")
    for name, path in encoders.items():
        shutil.copytree(path, tmp_path / "home" / name)
    names = {"whisper", "sentences", "tagger"} - {*left_out}
    source = TeacherSource(**{name: str(tmp_path / "home" / name) for name in names})
    data = CONFIG["data"] | {"shares": {"sound": 0.5, "speech": 0.25, "digits": 0.25}, "sets": ["digits"]}  # type: ignore[operator]
    data["bank"] |= {"speech_classes": 2}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIG, "codebooks": {}, "data": data}))
    recorded = write_recordings(tmp_path / "home")
    whole = train_codec(path, tmp_path / "whole", data=recorded, teachers=source)
    prepare(path, tmp_path / "prepared", data=recorded, teachers=source)
    shutil.rmtree(tmp_path / "home")
    for made in ("bank.safetensors", "teacher.safetensors"):
        (tmp_path / "carried").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "prepared" / made, tmp_path / "carried" / made)
    monkeypatch.setenv("PATH", "")
    codec = train_codec(path, tmp_path / "carried")
    assert (codec / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def write_recordings(root: Path) -> Path:
    """Write a set `digits` of one second and return the folder that holds it."""
    (root / "digits" / "dev").mkdir(parents=True)
    noise = 0.1 * torch.randn(1, 1, 16_000, generator=torch.Generator().manual_seed(3))
    (root / "digits" / "one.wav").write_bytes(wav_bytes(noise, 16_000))
    row = {"path": "digits/one.wav", "labels": {"text": "one"}, "speaker": "her"}
    (root / "digits" / "dev" / "manifest.jsonl").write_text(json.dumps(row))
    return root


def test_a_prepared_training_names_no_other_teachers_and_is_about_its_own_clips(
    encoders: dict[str, Path], tmp_path: Path
) -> None:
    path, out = tmp_path / "config.json", tmp_path / "out"
    source = TeacherSource(whisper=str(encoders["whisper"]))
    path.write_text(json.dumps({**CONFIG, "codebooks": {}}))
    prepare(path, out, teachers=source)
    with pytest.raises(ValueError, match="is prepared with its teachers"):
        train_codec(path, out, teachers=source)
    path.write_text(json.dumps({**CONFIG, "codebooks": {}, "codec": {**CONFIG["codec"], "latent_dim": 4}}))  # type: ignore[dict-item]
    with pytest.raises(CheckpointMismatch, match="in 8 dimensions"):
        train_codec(path, out)
    path.write_text(json.dumps({**CONFIG, "codebooks": {}, "data": {"manifest": "train.jsonl"}}))
    with pytest.raises(ValueError, match="only a training from a bank"):
        prepare(path, out)
