"""Codecs of transformers behind our interface: their own codes and audio, whatever is encoded beside."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.codec.clip_encoder import encode_clip_codes
from core.codec.files.directory import read_shape
from core.codec.files.opening import open_codec
from core.codec.rvq.convert import convert_codec
from core.codec.rvq.model import RvqCodec, cut_parts
from core.errors import BadCodes, CheckpointMismatch
from tests.tiny_codecs import MAKERS, write_codec

# isort: split
from transformers import Xcodec2FeatureExtractor


@pytest.fixture(scope="module", params=sorted(MAKERS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, RvqCodec]:
    """Return a codec as transformers has it, and the converted one."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = write_codec(request.param, folder / "theirs")
    return theirs, convert_codec(folder / "theirs", folder / "ours", layers=None, words=None)


def noise(codec: RvqCodec, frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(frames * codec.config.hop_length, generator=generator)


@torch.inference_mode()
def encoded_by_transformers(model: Any, samples: Tensor, layers: int) -> Tensor:
    """Return the codes (layers, T) as a user of transformers gets them."""
    match model.config.model_type:
        case "encodec":
            codes = model.encode(samples[None, None], bandwidth=6.0).audio_codes[0, 0]
        case "dac":
            codes = model.encode(samples[None, None], layers).audio_codes[0]
        case "mimi":
            codes = model.encode(samples[None, None], num_quantizers=layers).audio_codes[0]
        case _:
            features = Xcodec2FeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt")
            codes = model.encode(**features).audio_codes[0]
    wanted: Tensor = codes[:layers]
    return wanted


@torch.inference_mode()
def decoded_by_transformers(model: Any, codes: Tensor) -> Tensor:
    match model.config.model_type:
        case "encodec":
            audio = model.decode(codes[None, None], [None]).audio_values
        case "dac":
            audio = model.decode(audio_codes=codes[None]).audio_values
        case _:
            audio = model.decode(codes[None]).audio_values
    waveform: Tensor = audio.flatten()
    return waveform


def test_codes_and_audio_are_those_of_transformers(pair: tuple[Any, RvqCodec]) -> None:
    theirs, ours = pair
    samples = noise(ours, 20)
    codes = torch.cat(ours.encode(samples[None, None]))
    assert torch.equal(codes, encoded_by_transformers(theirs, samples, len(codes))[:, :20])
    assert len(codes[0].unique()) > 1
    audio = ours.decode(list(codes[:, None]))
    torch.testing.assert_close(audio.flatten(), decoded_by_transformers(theirs, codes))


def test_codes_depend_on_the_clip_alone(pair: tuple[Any, RvqCodec]) -> None:
    _, codec = pair
    clips = [noise(codec, frames, seed=frames) for frames in (3, 17, 1)]
    together = codec.encode_with_latents([clip.split(701) for clip in clips])
    for clip, one in zip(clips, together, strict=True):
        [alone] = codec.encode_with_latents([[clip]])
        assert all(torch.equal(a, b) for a, b in zip(one.codes, alone.codes, strict=True))
        assert np.array_equal(one.latent, alone.latent)
        assert one.latent.shape == (2, codec.config.latent_dim)


def test_a_clip_has_a_code_of_each_layer_and_a_level_for_every_frame(pair: tuple[Any, RvqCodec]) -> None:
    _, codec = pair
    [clip] = encode_clip_codes(codec, [noise(codec, 5)[:-7].numpy()])
    assert [len(layer) for layer in clip.layers] == [5] * len(codec.config.codebook_sizes)
    assert len(clip.levels) == 5
    largest = zip(clip.layers, codec.config.codebook_sizes, strict=True)
    assert all(layer.max() < size for layer, size in largest)


def test_the_directory_opens_as_the_same_codec(pair: tuple[Any, RvqCodec], tmp_path: Path) -> None:
    theirs, codec = pair
    theirs.save_pretrained(tmp_path / "theirs")
    convert_codec(tmp_path / "theirs", tmp_path / "ours", layers=None, words=None)
    assert read_shape(tmp_path / "ours") == codec.config
    assert open_codec(tmp_path / "ours").fingerprint == codec.fingerprint


def test_other_layers_and_words_are_another_codec(tmp_path: Path) -> None:
    write_codec("dac", tmp_path / "theirs")
    (tmp_path / "words.txt").write_text("".join(f"word{code}\n" for code in range(64)))
    whole = convert_codec(tmp_path / "theirs", tmp_path / "whole", layers=9, words=None)
    two = convert_codec(tmp_path / "theirs", tmp_path / "two", layers=2, words=None)
    named = convert_codec(tmp_path / "theirs", tmp_path / "named", layers=2, words=tmp_path / "words.txt")
    assert len({codec.fingerprint for codec in (whole, two, named)}) == 3
    assert named.words[63] == "word63"
    samples = noise(whole, 4)[None, None]
    assert all(torch.equal(a, b) for a, b in zip(two.encode(samples), whole.encode(samples), strict=False))
    with pytest.raises(BadCodes, match="2 layers of codes, the codec has 9"):
        whole.decode(two.encode(samples))


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    write_codec("dac", tmp_path / "theirs")

    def refuse(message: str, layers: int | None = None, words: Path | None = None) -> None:
        with pytest.raises(CheckpointMismatch, match=message):
            convert_codec(tmp_path / "theirs", tmp_path / "ours", layers=layers, words=words)
        assert not (tmp_path / "ours").exists()

    refuse("10 layers: the codec has 1 to 9", layers=10)
    (tmp_path / "words.txt").write_text("one\n")
    refuse("1 words for a semantic codebook of 64", words=tmp_path / "words.txt")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config | {"codebook_size": 32}))
    refuse("mismatched_keys")
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    refuse("'bert' is not a known codec: dac, encodec, mimi, xcodec2")
    (tmp_path / "theirs" / "config.json").unlink()
    refuse("has no config")


@pytest.mark.parametrize("sizes", [[10], [3, 4, 3], [1] * 10, [4, 4, 2]])
def test_a_clip_is_cut_alike_in_whatever_pieces_it_arrives(sizes: list[int]) -> None:
    clip = torch.arange(10.0)
    parts = list(cut_parts(clip.split(sizes), 4))
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
