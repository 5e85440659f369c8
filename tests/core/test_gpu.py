"""What a GPU must keep of a CPU's answers. Each test runs on the CPU as well, where it must hold, too."""

import random
from pathlib import Path

import pytest
import torch

from core.codec import LLMCodec
from core.codec.files.checkpoint import write_directory
from core.llama.model import FrozenLlama
from core.prompts.audio_grammar import AudioGrammar
from core.prompts.generation import GenerationTemplate
from core.prompts.label_trie import LabelTrie, label_trie
from core.tokens.vocabulary import Vocabulary
from tests.core.codec.conftest import SMALL, random_codec
from tests.core.codec.test_model import noise
from tests.core.conftest import write_llama
from tests.core.llama.test_model import CLOSING, PREFIX, greedy, plain_scores

# isort: split
from torch.nn import functional
from transformers import LlamaForCausalLM

ROUNDING = 1e-4
"""How much further, in cosine, than the nearest vector the one may be that rounding makes the nearest."""
NEAR_TIE = 1e-3
"""Between the logits of the two most probable ids: closer, rounding may decide."""
HALF = 2e-2
"""How far bfloat16 may move a label's probability."""

CLIPS = [noise(length, seed) for seed, length in enumerate([1, 3840, 8000, 16_000, 40_000, 150_000] * 3)]
QUERIES = [[random.Random(at).randrange(3, 420) for _ in range(1 + at % 20)] for at in range(60)]
TEXTS = ["one", "two", "a dog", "rain", "1+1", "a much longer text than the others"]


@pytest.fixture(
    scope="module",
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cpu_codec() -> LLMCodec:
    """The latents of a fresh encoder hardly change with the audio: its last convolution is scaled until each
    channel is spread around zero, so that many codes are used."""
    codec = random_codec(SMALL)
    with torch.inference_mode():
        deviation, mean = torch.std_mean(codec.encoder(noise(80 * 3840, 0)[None, None])[0], dim=1)
    tensors, last = codec.canonical(), "encoder.block.6"
    tensors[f"{last}.weight"] = tensors[f"{last}.weight"] / deviation[:, None, None]
    tensors[f"{last}.bias"] = (tensors[f"{last}.bias"] - mean) / deviation
    codec.load_canonical(tensors)
    return codec


@pytest.fixture(scope="module")
def codec(device: str, cpu_codec: LLMCodec, tmp_path_factory: pytest.TempPathFactory) -> LLMCodec:
    path = tmp_path_factory.mktemp("codec") / "codec"
    write_directory(path, cpu_codec.config, cpu_codec.canonical(), ())
    return LLMCodec.from_directory(path, device)


@pytest.fixture(scope="module")
def on_device(device: str, llama_path: Path) -> FrozenLlama:
    return FrozenLlama.from_directory(llama_path, device=device)


@pytest.fixture(scope="session")
def mild_path(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> Path:
    """Write a LLaMA with smaller weights, since large ones magnify rounding more than a trained model."""
    return write_llama(tmp_path_factory.mktemp("mild"), tokenizer_path, 0.1)


@pytest.fixture(scope="module")
def mild(device: str, mild_path: Path) -> FrozenLlama:
    return FrozenLlama.from_directory(mild_path, device=device)


@pytest.fixture(scope="session")
def trie() -> LabelTrie:
    return label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5], "cat": [6, 9]}, CLOSING)


@torch.inference_mode()
def excess_distance(codec: LLMCodec, samples: torch.Tensor, codes: list[torch.Tensor]) -> float:
    """How much further the vectors of these codes are than the nearest ones, at most, after what the codes
    themselves leave over at each layer. The whole clip is read at once."""
    padded = functional.pad(samples, (0, -len(samples) % codec.config.block_length))
    residual = codec.encoder(padded[None, None])
    excess = []
    for layer, chosen in zip(codec.quantizer.layers, codes, strict=True):
        pooled = functional.avg_pool1d(residual, layer.stride)[0].T
        cosines = functional.normalize(pooled) @ layer.directions.T
        excess.append(cosines.amax(dim=1) - cosines[torch.arange(len(chosen)), chosen])
        residual = residual - layer.decode(chosen[None])
    return float(torch.cat(excess).max())


def test_codes_are_those_of_the_cpu_up_to_near_ties(codec: LLMCodec, cpu_codec: LLMCodec) -> None:
    together = codec.encode_clips([clip] for clip in CLIPS)
    for clip, codes in zip(CLIPS, together, strict=True):
        assert excess_distance(cpu_codec, clip, codes) < ROUNDING
    assert len({int(code) for codes in together for layer in codes for code in layer}) > 100


def test_codes_that_are_others_are_not_taken_for_near_ties(cpu_codec: LLMCodec) -> None:
    codes = [layer.clone() for layer in cpu_codec.encode_clips([[CLIPS[3]]])[0]]
    assert excess_distance(cpu_codec, CLIPS[3], codes) < ROUNDING
    codes[1][0] = (codes[1][0] + 1) % 256
    assert excess_distance(cpu_codec, CLIPS[3], codes) > ROUNDING


def test_a_clips_codes_do_not_depend_on_its_batch(codec: LLMCodec) -> None:
    alone = [codec.encode_clips([[clip]])[0] for clip in CLIPS]
    order = random.Random(0).sample(range(len(CLIPS)), len(CLIPS))
    mixed = codec.encode_clips([CLIPS[at]] for at in order)
    for codes, at in zip(mixed, order, strict=True):
        assert [layer.tolist() for layer in codes] == [layer.tolist() for layer in alone[at]]


def test_decoded_audio_is_that_of_the_cpu(codec: LLMCodec, cpu_codec: LLMCodec) -> None:
    codes = cpu_codec.encode(torch.stack(CLIPS[2::6])[:, None])
    seeds = [7, 8, 9]
    decoded = codec.decode(codes, seeds).cpu()
    torch.testing.assert_close(decoded, cpu_codec.decode(codes, seeds), rtol=0, atol=1e-4)


def test_log_probabilities_in_float32_are_within_1e_4_of_the_cpus(
    mild: FrozenLlama, mild_path: Path, trie: LabelTrie
) -> None:
    on_cpu = FrozenLlama.from_directory(mild_path)
    packed, prefix = mild.score(mild.prefill(PREFIX), QUERIES, trie), on_cpu.prefill(PREFIX)
    alone = torch.cat([on_cpu.score(prefix, [query], trie) for query in QUERIES])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-4)


def test_packed_scores_are_those_of_full_prompts(mild: FrozenLlama, mild_path: Path, trie: LabelTrie) -> None:
    plain = LlamaForCausalLM.from_pretrained(mild_path).eval().to(mild.device)
    packed = mild.score(mild.prefill(PREFIX), QUERIES[:20], trie)
    torch.testing.assert_close(packed, plain_scores(plain, PREFIX, QUERIES[:20], trie), rtol=0, atol=1e-4)


def test_in_bfloat16_probabilities_stay_near_and_clear_answers_the_same(
    device: str, mild: FrozenLlama, mild_path: Path, trie: LabelTrie
) -> None:
    half = FrozenLlama.from_directory(mild_path, device=device, dtype="bfloat16")
    expected, scores = (one.score(one.prefill(PREFIX), QUERIES, trie).softmax(dim=1) for one in (mild, half))
    torch.testing.assert_close(scores, expected, rtol=0, atol=HALF)
    first, second = expected.topk(2).values.unbind(dim=1)
    clear = first - second > HALF
    assert clear.float().mean() > 0.5
    assert torch.equal(scores.argmax(dim=1)[clear], expected.argmax(dim=1)[clear])


def said(llama: FrozenLlama, vocabulary: Vocabulary, texts: list[str]) -> list[list[tuple[int, float]]]:
    """Greedy audio of two blocks for each text, all at once: where each id was among those that might come,
    and how far the next most probable one was behind."""
    template, grammar = GenerationTemplate(vocabulary, "speech"), AudioGrammar(vocabulary)
    answers = [grammar.begin(2) for _ in texts]
    spoken: list[list[tuple[int, float]]] = [[] for _ in texts]

    def choose(at: int, logits: torch.Tensor) -> int:
        first, second = logits.topk(2).values.tolist()
        spoken[at].append((greedy(logits), first - second))
        return spoken[at][-1][0]

    chosen = [lambda logits, at=at: choose(at, logits) for at in range(len(texts))]
    llama.generate(llama.prefill(PREFIX), [template.query_ids(text) for text in texts], answers, chosen)
    return spoken


def assert_same_up_to_a_near_tie(
    together: list[list[tuple[int, float]]], alone: list[list[tuple[int, float]]]
) -> None:
    """Compare an answer up to the first near-tie, after which both may continue differently."""
    compared = 0
    for one, other in zip(together, alone, strict=True):
        margins = [margin for _, margin in other]
        clear = next((at for at, margin in enumerate(margins) if margin < NEAR_TIE), len(margins))
        assert [at for at, _ in one[:clear]] == [at for at, _ in other[:clear]]
        compared += clear
    assert compared > 0.5 * sum(map(len, alone))


def test_greedy_answers_are_the_same_alone_and_together(
    on_device: FrozenLlama, vocabulary: Vocabulary
) -> None:
    alone = [said(on_device, vocabulary, [text])[0] for text in TEXTS]
    assert_same_up_to_a_near_tie(said(on_device, vocabulary, TEXTS), alone)


def test_greedy_answers_are_those_of_the_cpu(
    on_device: FrozenLlama, llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    alone = [said(llama, vocabulary, [text])[0] for text in TEXTS]
    assert_same_up_to_a_near_tie(said(on_device, vocabulary, TEXTS), alone)
