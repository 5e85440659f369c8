import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadCodes, CheckpointMismatch
from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from tests.core.parsed_ids import parse_ids


@st.composite
def audio_codes(draw: st.DrawFn, words: int, pieces: int) -> AudioCodes:
    num_blocks = draw(st.integers(1, 5))
    semantic, *acoustic = (
        tuple(draw(st.lists(st.integers(0, size - 1), min_size=length, max_size=length)))
        for size, length in zip(
            (words, pieces, pieces), [count * num_blocks for count in CODES_PER_BLOCK], strict=True
        )
    )
    return semantic, acoustic[0], acoustic[1]


@given(data=st.data())
def test_flattened_layers_parse_back_to_the_same_codes(vocabulary: Vocabulary, data: st.DataObject) -> None:
    codes = data.draw(audio_codes(len(vocabulary.words), len(vocabulary.tokenizer)))
    assert parse_ids(vocabulary, vocabulary.flatten(codes), len(codes[0]) // 2) == codes


@given(data=st.data())
def test_acoustic_codes_that_would_continue_the_last_word_stay_acoustic(
    vocabulary: Vocabulary, data: st.DataObject
) -> None:
    pairs = [ids for code in range(80) if len(ids := vocabulary.token_ids(0, [code])) == 2]
    begin, end = data.draw(st.sampled_from([ids for ids in pairs if (ids[0],) in one_id_words(vocabulary)]))
    code = one_id_words(vocabulary)[(begin,)]
    codes = ((code, code), (end,) * 4, (end,) * 8)
    assert parse_ids(vocabulary, vocabulary.flatten(codes), 1) == codes


def one_id_words(vocabulary: Vocabulary) -> dict[tuple[int, ...], int]:
    ids = {tuple(vocabulary.token_ids(0, [code])): code for code in range(len(vocabulary.words))}
    return {key: code for key, code in ids.items() if len(key) == 1}


def test_ids_are_codes_in_acoustic_layers_and_words_in_the_semantic_one(vocabulary: Vocabulary) -> None:
    assert vocabulary.token_ids(1, [0, 2, 300]) == [0, 2, 300]
    assert vocabulary.token_ids(0, [79, 0]) == [
        *vocabulary.tokenizer.encode(vocabulary.word(0, 79)),
        *vocabulary.tokenizer.encode(vocabulary.word(0, 0)),
    ]
    assert vocabulary.word(2, 300) == vocabulary.tokenizer.piece(300)
    assert vocabulary.longest_word == 2


@pytest.mark.parametrize(("layer", "code"), [(0, -1), (0, 80), (1, 420), (2, -1), (3, 0)])
def test_codes_out_of_range_are_refused(vocabulary: Vocabulary, layer: int, code: int) -> None:
    with pytest.raises(BadCodes, match=r"out of range|does not exist"):
        vocabulary.token_ids(layer, [code])


def test_without_words_only_acoustic_codes_have_ids(tokenizer: TextTokenizer) -> None:
    vocabulary = Vocabulary((), tokenizer)
    assert vocabulary.token_ids(2, [7]) == [7]
    with pytest.raises(BadCodes, match="no word list"):
        vocabulary.token_ids(0, [7])


@pytest.mark.parametrize("word", ["", "unutterable zebra", "\N{SNOWMAN}"])
def test_a_word_of_more_than_two_ids_is_refused(tokenizer: TextTokenizer, word: str) -> None:
    with pytest.raises(CheckpointMismatch, match="1 or 2"):
        Vocabulary([word], tokenizer)


def test_a_word_that_is_listed_twice_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(CheckpointMismatch, match="another word"):
        Vocabulary(["the", "dog", "the"], tokenizer)


def test_words_whose_ids_have_two_readings_are_refused() -> None:
    class Letters(TextTokenizer):
        bos_id, eos_id, unk_id = 1, 2, 0

        def __init__(self) -> None:
            pass

        def encode(self, text: str) -> list[int]:
            return [ord(letter) for letter in text]

    with pytest.raises(CheckpointMismatch, match="two readings"):
        Vocabulary(["a", "ab", "b"], Letters())


def test_text_never_becomes_a_control_id(tokenizer: TextTokenizer) -> None:
    assert not {tokenizer.bos_id, tokenizer.eos_id} & set(tokenizer.encode("<s>dog</s>"))


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(CheckpointMismatch, match="not a SentencePiece model"):
        TextTokenizer(tmp_path / "tokenizer.model")


@pytest.fixture(scope="module")
def released(test_data: Path) -> Vocabulary:
    words = (test_data / "vocab" / "words.txt").read_text().splitlines()
    return Vocabulary(words, TextTokenizer(test_data / "vocab" / "tokenizer.model"))


@pytest.mark.data
def test_the_released_words_have_the_recorded_ids(
    released: Vocabulary, test_data: Path, golden: Path
) -> None:
    lines = (test_data / "vocab" / "words_tokens.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [released.token_ids(0, [row["index"]]) for row in rows] == [row["llama2_ids"] for row in rows]
    examples = json.loads((golden / "prompts.json").read_text())["word_examples"]
    assert {word: released.tokenizer.encode(word) for word in examples} == examples
    assert (len(released.words), released.longest_word, len(released.tokenizer)) == (3248, 2, 32000)


@pytest.mark.data
def test_every_released_code_of_every_layer_comes_back(released: Vocabulary) -> None:
    pieces = [*range(32000)] * 2
    codes = ([*range(3248)] * 5, [*pieces[:32480]], [*pieces[:64000], *range(960)])
    assert parse_ids(released, released.flatten(codes), 8120) == tuple(map(tuple, codes))


@pytest.mark.data
@given(data=st.data())
def test_released_layers_parse_back_to_the_same_codes(released: Vocabulary, data: st.DataObject) -> None:
    codes = data.draw(audio_codes(3248, 32000))
    assert parse_ids(released, released.flatten(codes), len(codes[0]) // 2) == codes
