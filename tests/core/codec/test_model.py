"""The codec against the released code's numbers, and the promise `same clip, same codes`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional

from core.codec import LLMCodec
from core.errors import BadCodes

LENGTHS = st.one_of(st.sampled_from([16_000, 3840]), st.integers(1, 40_000))
"""Samples of a clip; some are as long as others, so that they share a pass."""


@pytest.fixture(scope="module")
def golden_codec(golden: Path) -> LLMCodec:
    return LLMCodec.from_directory(golden / "codec")


@pytest.mark.data
@pytest.mark.parametrize("clip", ["clip0", "clip1", "clip2"])
def test_codes_latents_and_audio_equal_the_released_code(
    golden: Path, golden_codec: LLMCodec, clip: str
) -> None:
    vectors = load_file(golden / "codec" / "vectors.safetensors")
    audio = vectors[f"{clip}.audio"]
    codes = golden_codec.encode(audio[None, None])
    for layer in range(3):
        assert codes[layer][0].tolist() == vectors[f"{clip}.codes{layer}"].tolist()
    padded = functional.pad(audio, (0, -len(audio) % golden_codec.config.block_length))
    with torch.inference_mode():
        latent = golden_codec.encoder(padded[None, None])[0]
    torch.testing.assert_close(latent, vectors[f"{clip}.latent"], atol=1e-4, rtol=0)
    (encoded,) = golden_codec.encode_with_latents([[audio]])
    own = vectors[f"{clip}.latent"][:, : -(-len(audio) // golden_codec.config.hop_length)]
    np.testing.assert_allclose(encoded.latent[0], own.mean(1), atol=1e-3, rtol=2**-10)
    np.testing.assert_allclose(encoded.latent[1], own.std(1, correction=0), atol=1e-3, rtol=2**-10)
    decoded = golden_codec.decode(codes)[0, 0]
    torch.testing.assert_close(decoded, vectors[f"{clip}.decoded"], atol=1e-4, rtol=0)


def noise(length: int, seed: int) -> torch.Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(seed)) * 0.1


def whole_file_codes(codec: LLMCodec, samples: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return codes without windows, and per layer whether the best two entries clearly differ."""
    padded = functional.pad(samples, (0, -len(samples) % codec.config.block_length))
    codes, clear = [], []
    with torch.inference_mode():
        residual = codec.encoder(padded[None, None])
        for layer in codec.quantizer.layers:
            pooled = functional.avg_pool1d(residual, layer.stride)[0].T
            best = (functional.normalize(pooled) @ layer.directions.T).topk(2).values
            clear.append((best[:, 0] - best[:, 1]) > 1e-5)
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
    return [c[0] for c in codes], clear


def assert_same_but_for_ties(
    codes: list[torch.Tensor], expected: list[torch.Tensor], clear: list[torch.Tensor]
) -> None:
    """Compare codes up to the first near-tie, which may change what finer layers quantize."""
    if all(bool(c.all()) for c in clear):
        assert [c.tolist() for c in codes] == [e.tolist() for e in expected]
    else:
        assert torch.equal(codes[0][clear[0]], expected[0][clear[0]])


@settings(max_examples=12, deadline=None)
@given(blocks=st.integers(30, 100), extra=st.integers(0, 3839), cut=st.integers(700, 50_000))
def test_long_clips_in_windows_have_the_codes_of_the_whole_file(
    codec: LLMCodec, blocks: int, extra: int, cut: int
) -> None:
    samples = noise(blocks * 3840 + extra, seed=blocks)
    codes = codec.encode_clips([torch.split(samples, cut)])[0]
    assert_same_but_for_ties(codes, *whole_file_codes(codec, samples))


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(LENGTHS, min_size=1, max_size=12))
def test_same_clip_same_codes_alone_and_in_any_batch(any_codec: LLMCodec, lengths: list[int]) -> None:
    clips = [noise(length, seed) for seed, length in enumerate(lengths)]
    alone = [any_codec.encode(clip[None, None]) for clip in clips]
    together = any_codec.encode_clips([clip] for clip in clips)
    backwards = any_codec.encode_clips([clip] for clip in reversed(clips))[::-1]
    for one, many, other in zip(alone, together, backwards, strict=True):
        assert [c[0].tolist() for c in one] == [c.tolist() for c in many] == [c.tolist() for c in other]


def own_frames(codec: LLMCodec, samples: torch.Tensor) -> torch.Tensor:
    """Return the latents (D, T) of the whole clip at once, without the frames that are only padding."""
    padded = functional.pad(samples, (0, -len(samples) % codec.config.block_length))
    with torch.inference_mode():
        latents: torch.Tensor = codec.encoder(padded[None, None])[0]
    return latents[:, : -(-len(samples) // codec.config.hop_length)].double()


@settings(max_examples=8, deadline=None)
@given(blocks=st.integers(0, 100), extra=st.integers(1, 3839), cut=st.integers(700, 50_000))
def test_the_pooled_latent_is_that_of_the_whole_file(
    codec: LLMCodec, blocks: int, extra: int, cut: int
) -> None:
    samples = noise(blocks * 3840 + extra, seed=blocks)
    (clip,) = codec.encode_with_latents([torch.split(samples, cut)])
    z = own_frames(codec, samples)
    expected = torch.stack((z.mean(1), z.std(1, correction=0))).numpy()
    assert clip.latent.dtype == np.float16
    # half a step of half precision, and what windows change in single precision
    np.testing.assert_allclose(clip.latent, expected, rtol=2**-11, atol=2e-5)


@settings(max_examples=6, deadline=None)
@given(lengths=st.lists(st.one_of(LENGTHS, st.integers(1, 150_000)), min_size=1, max_size=6))
def test_same_clip_same_latent_alone_and_in_any_batch(any_codec: LLMCodec, lengths: list[int]) -> None:
    clips = [noise(length, seed) for seed, length in enumerate(lengths)]
    alone = [any_codec.encode_with_latents([[clip]])[0].latent for clip in clips]
    together = any_codec.encode_with_latents(torch.split(clip, 7001) for clip in clips)
    backwards = any_codec.encode_with_latents([clip] for clip in reversed(clips))[::-1]
    for one, many, other in zip(alone, together, backwards, strict=True):
        assert np.array_equal(one, many.latent)
        assert np.array_equal(one, other.latent)


def test_a_clip_of_no_samples_has_no_codes_and_a_latent_of_zeros(codec: LLMCodec) -> None:
    (clip,) = codec.encode_with_latents([[]])
    assert [len(layer) for layer in clip.codes] == [0, 0, 0]
    assert not clip.latent.any()


@pytest.mark.parametrize(("length", "blocks"), [(1, 1), (3840, 1), (3841, 2), (16_000, 5), (32_000, 9)])
def test_a_block_gives_two_four_and_eight_codes(codec: LLMCodec, length: int, blocks: int) -> None:
    codes = codec.encode(noise(length, 0)[None, None])
    assert [c.shape[1] for c in codes] == [2 * blocks, 4 * blocks, 8 * blocks]


def test_rows_of_one_call_are_independent_clips(codec: LLMCodec) -> None:
    batch = torch.stack([noise(8000, 1), noise(8000, 2)])[:, None]
    rows = codec.encode(batch)
    for layer, alone in zip(rows, codec.encode(batch[1:]), strict=True):
        assert torch.equal(layer[1:], alone)


def test_decoding_is_repeatable_and_a_row_does_not_depend_on_its_batch(codec: LLMCodec) -> None:
    codes = codec.encode(torch.stack([noise(8000, 1), noise(8000, 2)])[:, None])
    both = codec.decode(codes, seeds=[7, 8])
    assert torch.equal(both, codec.decode(codes, seeds=[7, 8]))
    second = codec.decode([c[1:] for c in codes], seeds=[8])
    torch.testing.assert_close(second[0], both[1], atol=1e-5, rtol=0)
    assert not torch.allclose(both, codec.decode(codes, seeds=[9, 8]))


def test_codes_that_do_not_fit_are_refused_with_their_range(codec: LLMCodec) -> None:
    good = codec.encode(noise(3840, 0)[None, None])
    with pytest.raises(BadCodes, match="outside 0 to 63"):
        codec.decode([good[0] + 64, *good[1:]])
    with pytest.raises(BadCodes, match="different numbers of frames"):
        codec.decode([good[0][:, :1], *good[1:]])
    with pytest.raises(BadCodes, match="2 layers"):
        codec.decode(good[:2])


def test_a_waveform_of_another_shape_is_refused(codec: LLMCodec) -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, T\)"):
        codec.encode(torch.zeros(1, 2, 16_000))
