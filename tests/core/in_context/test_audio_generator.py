import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from core.codec import LLMCodec
from core.errors import CheckpointMismatch, PromptError, PromptTooLong
from core.in_context.audio_generator import AudioGenerator, AudioQuery, Decoding, denoise
from core.llama.model import FrozenLlama
from core.presets import preset_directory
from core.prompts.generation import INSTRUCTIONS, Example, GenerationTask, GenerationTemplate
from core.tokens.clip_codes import CODES_PER_BLOCK, ClipCodes
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from core.tokens.window import WindowCodes, cut_window
from tests.core.parsed_ids import parse_ids

# isort: split
from transformers import LlamaConfig, LlamaForCausalLM

from tests.core.made_clips import clip_of

TEXTS = ["one", "two", "a dog", "rain", "1+1", "a much longer text than the others"]
GREEDY = Decoding()
DRAWN = Decoding(temperature=1.0, top_p=0.9)


def noise(vocabulary: Vocabulary, num_blocks: int, seed: int) -> ClipCodes:
    generator = np.random.default_rng(seed)
    layers = (
        generator.integers(0, vocabulary.size(layer), count * num_blocks).astype(np.int16)
        for layer, count in enumerate(CODES_PER_BLOCK)
    )
    return clip_of(layers)


def window(vocabulary: Vocabulary, num_blocks: int, seed: int) -> WindowCodes:
    return WindowCodes(noise(vocabulary, num_blocks, seed).layers)


def speaker(llama: FrozenLlama, vocabulary: Vocabulary, decoding: Decoding = GREEDY) -> AudioGenerator:
    examples = [Example(text, window(vocabulary, 1, seed)) for seed, text in enumerate(TEXTS[:3])]
    return AudioGenerator(llama, vocabulary, "speech", examples, instruction="Learn", decoding=decoding)


def cleaner(llama: FrozenLlama, vocabulary: Vocabulary, decoding: Decoding = GREEDY) -> AudioGenerator:
    examples = [Example(window(vocabulary, 2, seed), window(vocabulary, 2, seed + 9)) for seed in range(2)]
    return AudioGenerator(llama, vocabulary, "denoise", examples, instruction="Learn", decoding=decoding)


@pytest.fixture(scope="module")
def queries() -> list[AudioQuery]:
    """Draw texts and durations of many lengths."""
    return [AudioQuery(text, 1 + seed % 3, seed) for seed, text in enumerate(TEXTS * 2)]


@contextmanager
def passes(llama: FrozenLlama) -> Iterator[list[int]]:
    """Count the passes of the model."""
    read: list[int] = []
    hook = llama._model.model.embed_tokens.register_forward_pre_hook(
        lambda _, row: read.append(row[0].numel())
    )
    try:
        yield read
    finally:
        hook.remove()


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN])
def test_an_answer_does_not_depend_on_what_is_asked_beside_it(
    llama: FrozenLlama, vocabulary: Vocabulary, queries: list[AudioQuery], decoding: Decoding
) -> None:
    generator = speaker(llama, vocabulary, decoding)
    together = generator.generate(queries)
    assert together == [generator.generate([query])[0] for query in queries]
    order = random.Random(0).sample(range(len(queries)), len(queries))
    assert generator.generate([queries[at] for at in order]) == [together[at] for at in order]


def test_answers_are_as_long_as_they_are_asked(
    llama: FrozenLlama, vocabulary: Vocabulary, queries: list[AudioQuery]
) -> None:
    for codes, query in zip(speaker(llama, vocabulary).generate(queries), queries, strict=True):
        assert [len(layer) for layer in codes] == [count * query.num_blocks for count in CODES_PER_BLOCK]
        assert parse_ids(vocabulary, vocabulary.flatten(codes), query.num_blocks) == codes


def test_an_answer_is_what_plain_greedy_decoding_says(llama_path: Path, vocabulary: Vocabulary) -> None:
    """Compare with greedy decoding that reads the whole prompt for each id."""
    llama = FrozenLlama.from_directory(llama_path)
    model = LlamaForCausalLM.from_pretrained(llama_path).eval()
    generator = speaker(llama, vocabulary)
    codes = generator.generate([AudioQuery("a dog", 2)])[0]
    ids = generator.prefix_ids + GenerationTemplate(vocabulary, "speech").query_ids("a dog")
    answer = vocabulary.flatten(codes)
    with torch.inference_mode():
        logits = model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1]
    acoustic = logits[-24:, : len(vocabulary.tokenizer)].argmax(dim=1)
    assert acoustic.tolist() == answer[-24:]
    begins = sorted({vocabulary.token_ids(0, [code])[0] for code in range(len(vocabulary.words))})
    assert begins[int(logits[0, begins].argmax())] == answer[0]


def test_seeds_make_drawn_answers_and_leave_greedy_ones_alone(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    same, other = AudioQuery("one", 1, seed=7), AudioQuery("one", 1, seed=8)
    first, again, differs = speaker(llama, vocabulary, DRAWN).generate([same, same, other])
    assert first == again != differs
    assert len(set(speaker(llama, vocabulary).generate([same, other]))) == 1


def test_no_query_reads_nothing_and_the_prefix_is_read_once(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    generator = speaker(llama, vocabulary)
    with passes(llama) as read:
        assert generator.generate([]) == []
        assert read == []
        generator.generate([AudioQuery("one", 1)])
        generator.generate([AudioQuery("two", 1)])
    assert read.count(len(generator.prefix_ids)) == 1


@example(logits=[-1.1754943508222875e-38, 0.0], seed=0)
@given(logits=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12), seed=st.integers(0, 2**63 - 1))
def test_with_little_temperature_or_top_p_the_most_probable_id_is_said(
    logits: list[float], seed: int
) -> None:
    row = torch.tensor(logits)
    assert GREEDY.choose(seed)(row) == logits.index(max(logits))
    assert Decoding(temperature=1.0, top_p=1e-9).choose(seed)(row) == logits.index(max(logits))
    for temperature in (1e-6, 1e-300):
        assert logits[Decoding(temperature).choose(seed)(row)] >= max(logits) - 1e-4


@given(
    logits=st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=12),
    top_p=st.floats(0.05, 0.95),
    temperature=st.floats(0.2, 3.0),
    seed=st.integers(0, 1000),
)
def test_what_is_drawn_is_among_the_most_probable_ids(
    logits: list[float], top_p: float, temperature: float, seed: int
) -> None:
    drawn = Decoding(temperature, top_p).choose(seed)(torch.tensor(logits))
    weights = np.exp(np.array(logits) / temperature)
    more_probable = sum(weights[weights > weights[drawn]]) / weights.sum()
    assert more_probable < top_p + 1e-9


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        (Decoding(1.0), [0.5, 0.3, 0.15, 0.05]),
        (Decoding(0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (Decoding(1.0, 0.8), [0.625, 0.375, 0, 0]),
        (Decoding(1.0, 0.81), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
    ],
)
def test_ids_are_drawn_as_often_as_they_are_probable(decoding: Decoding, expected: list[float]) -> None:
    choose, logits = decoding.choose(3), torch.tensor([0.5, 0.3, 0.15, 0.05]).log() - 2
    drawn = [choose(logits) for _ in range(4000)]
    assert [drawn.count(at) / 4000 for at in range(4)] == pytest.approx(expected, abs=0.03)
    assert [drawn.count(at) == 0 for at in range(4)] == [p == 0 for p in expected]


@pytest.mark.parametrize(
    "values",
    [(-0.1, 1.0), (float("nan"), 1.0), (float("inf"), 1.0), (11.0, 1.0), (1.0, 0.0), (1.0, 1.1)],
)
def test_decoding_out_of_range_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Decoding(*values)


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN])
def test_slices_are_asked_alone_and_joined_in_order(
    llama: FrozenLlama, vocabulary: Vocabulary, decoding: Decoding
) -> None:
    generator, clip = cleaner(llama, vocabulary, decoding), noise(vocabulary, 5, 42)
    answer = denoise(generator, clip, slice_blocks=2, seed=100)
    parts = [cut_window(clip, start, 4) for start in (0, 4, 8)]
    alone = [
        generator.generate([AudioQuery(part, blocks, 100 + n)])[0]
        for n, (part, blocks) in enumerate(zip(parts, (2, 2, 1), strict=True))
    ]
    assert answer == tuple(sum((codes[layer] for codes in alone), start=()) for layer in range(3))


@pytest.mark.parametrize("slice_blocks", [None, 3, 7])
def test_a_clip_that_is_one_slice_is_asked_as_a_whole(
    llama: FrozenLlama, vocabulary: Vocabulary, slice_blocks: int | None
) -> None:
    generator, clip = cleaner(llama, vocabulary), noise(vocabulary, 3, 42)
    whole = generator.generate([AudioQuery(WindowCodes(clip.layers), 3)])[0]
    assert denoise(generator, clip, slice_blocks=slice_blocks) == whole


def test_a_clip_that_does_not_fit_whole_is_denoised_in_slices(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    generator, clip = cleaner(llama, vocabulary), noise(vocabulary, 100, 42)
    with passes(llama) as read, pytest.raises(PromptTooLong, match=r"denoise in \(shorter\) slices"):
        denoise(generator, clip, slice_blocks=None)
    assert read == []
    assert [len(layer) for layer in denoise(generator, clip, slice_blocks=2)] == [200, 400, 800]


def test_a_slice_without_a_block_is_refused(llama: FrozenLlama, vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        denoise(cleaner(llama, vocabulary), noise(vocabulary, 2, 1), slice_blocks=0)


def test_a_query_that_cannot_be_asked_is_refused_before_anything_runs(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    generator = speaker(llama, vocabulary)
    audio = window(vocabulary, 1, 0)
    bad = [AudioQuery("", 1), AudioQuery("a ### b", 1), AudioQuery("one", 0), AudioQuery(audio, 1)]
    with passes(llama) as read:
        for query in bad:
            with pytest.raises(PromptError):
                generator.check(query)
            with pytest.raises(PromptError):
                generator.generate([AudioQuery("one", 1), query])
        with pytest.raises(PromptTooLong, match="shorter audio"):
            generator.generate([AudioQuery("one", 1), AudioQuery("one", 30)])
    assert read == []


def test_noisy_audio_is_answered_at_its_own_length(llama: FrozenLlama, vocabulary: Vocabulary) -> None:
    generator = cleaner(llama, vocabulary)
    generator.check(AudioQuery(window(vocabulary, 2, 0), 2))
    with pytest.raises(PromptError, match="equal length"):
        generator.check(AudioQuery(window(vocabulary, 2, 0), 1))
    with pytest.raises(PromptError, match="got a text"):
        generator.check(AudioQuery("one", 1))


def test_a_query_fits_exactly_when_its_longest_answer_does(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    generator = speaker(llama, vocabulary)
    asked = len(generator.prefix_ids) + len(GenerationTemplate(vocabulary, "speech").query_ids("one"))
    most = (llama.context_length - asked) // (2 * 2 + 4 + 8)
    generator.check(AudioQuery("one", most))
    with pytest.raises(PromptTooLong) as error:
        generator.check(AudioQuery("one", most + 1))
    assert (error.value.needed, error.value.limit) == (asked + 16 * (most + 1), 512)


@pytest.mark.parametrize(
    ("task", "examples", "message"),
    [
        ("speech", 0, "at least one"),
        ("denoise", 3, "got a text"),
        ("speech", 20, "the context holds 512: ask for shorter audio, or show fewer"),
    ],
)
def test_examples_that_do_not_fit_are_refused(
    llama: FrozenLlama, vocabulary: Vocabulary, task: GenerationTask, examples: int, message: str
) -> None:
    shown = [Example("one", window(vocabulary, 1, seed)) for seed in range(examples)]
    with pytest.raises(PromptError, match=message):
        AudioGenerator(llama, vocabulary, task, shown, instruction=None)


def test_examples_cannot_be_repeated_less_than_not_at_all(llama: FrozenLlama, vocabulary: Vocabulary) -> None:
    shown = [Example("one", window(vocabulary, 1, 0))]
    with pytest.raises(ValueError, match="repeats -1"):
        AudioGenerator(llama, vocabulary, "speech", shown, instruction=None, repeats=-1)


def test_a_model_with_fewer_ids_than_the_tokenizer_is_refused(vocabulary: Vocabulary) -> None:
    config = LlamaConfig(vocab_size=419, hidden_size=8, num_attention_heads=1, num_hidden_layers=1)
    small = LlamaForCausalLM(config)
    with pytest.raises(CheckpointMismatch, match="do not belong together"):
        speaker(FrozenLlama(small, None, Path(), "float32"), vocabulary)


def test_the_prompts_hash_turns_on_what_is_shown_and_on_no_query(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    generator = speaker(llama, vocabulary)
    before = generator.prompt_hash
    generator.generate([AudioQuery("one", 1)])
    assert generator.prompt_hash == before == speaker(llama, vocabulary, DRAWN).prompt_hash
    shown = [Example("one", window(vocabulary, 1, 0))]
    ways = [
        AudioGenerator(llama, vocabulary, "speech", shown, instruction="Learn"),
        AudioGenerator(llama, vocabulary, "speech", shown, instruction=None),
        AudioGenerator(llama, vocabulary, "sound", shown, instruction="Learn"),
        AudioGenerator(llama, vocabulary, "speech", shown, instruction="Learn", repeats=1),
    ]
    assert len({way.prompt_hash for way in ways} | {before}) == 5


@pytest.fixture(scope="module")
def mini() -> Vocabulary:
    directory = preset_directory("mini-codec")
    words = (directory / "words.txt").read_text().splitlines()
    return Vocabulary(words, TextTokenizer(directory / "tokenizer.model"))


@pytest.fixture(scope="module")
def large(mini: Vocabulary) -> FrozenLlama:
    """Return random weights in the sizes of a small trained model."""
    config = LlamaConfig(
        vocab_size=3072,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=3,
        max_position_embeddings=2048,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return FrozenLlama(LlamaForCausalLM(config).eval(), mini.tokenizer, Path(), "float32")


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN])
def test_behind_a_long_prefix_answers_are_the_same_alone_and_together(
    large: FrozenLlama, mini: Vocabulary, decoding: Decoding
) -> None:
    examples = [Example(f"number {seed}", window(mini, 3, seed)) for seed in range(16)]
    generator = AudioGenerator(
        large, mini, "speech", examples, instruction=INSTRUCTIONS["speech"], decoding=decoding
    )
    queries = [AudioQuery(f"{seed} and {seed * seed}", 3, seed) for seed in range(3)]
    together = generator.generate(queries)
    assert together == [generator.generate([query])[0] for query in queries]
    assert len(set(together)) > 1


def test_answers_are_decoded_once_to_audio_of_their_length(large: FrozenLlama, mini: Vocabulary) -> None:
    codec = LLMCodec.from_directory(preset_directory("mini-codec"))
    examples = [Example(window(mini, 2, seed), window(mini, 2, seed + 9)) for seed in range(2)]
    generator = AudioGenerator(large, mini, "denoise", examples, instruction=INSTRUCTIONS["denoise"])
    codes = denoise(generator, noise(mini, 5, 42), slice_blocks=2)
    waveform = codec.decode([torch.tensor([layer]) for layer in codes])
    assert waveform.shape == (1, 1, 5 * 3840)
    assert waveform.isfinite().all()
