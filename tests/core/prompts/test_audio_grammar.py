from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadCodes, PromptError
from core.prompts.audio_grammar import AudioConstraint, AudioGrammar
from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from tests.core.parsed_ids import parse_ids


@pytest.fixture(scope="module")
def grammar(vocabulary: Vocabulary) -> AudioGrammar:
    return AudioGrammar(vocabulary)


@pytest.fixture(scope="module")
def released(test_data: Path) -> Vocabulary:
    words = (test_data / "vocab" / "words.txt").read_text().splitlines()
    return Vocabulary(words, TextTokenizer(test_data / "vocab" / "tokenizer.model"))


@pytest.fixture(scope="module")
def released_grammar(released: Vocabulary) -> AudioGrammar:
    return AudioGrammar(released)


@pytest.fixture(scope="module")
def beginning(vocabulary: Vocabulary) -> tuple[int, int]:
    """Return a word of one id that begins a word of two, and the second id of that."""
    pairs = [ids for code in range(80) if len(ids := vocabulary.token_ids(0, [code])) == 2]
    ones = [ids[0] for code in range(80) if len(ids := vocabulary.token_ids(0, [code])) == 1]
    return next((first, second) for first, second in pairs if first in ones)


def all_codes(vocabulary: Vocabulary, num_blocks: st.SearchStrategy[int]) -> st.SearchStrategy[AudioCodes]:
    def layers(blocks: int) -> st.SearchStrategy[AudioCodes]:
        return st.tuples(
            *(
                st.lists(
                    st.integers(0, vocabulary.size(layer) - 1),
                    min_size=count * blocks,
                    max_size=count * blocks,
                ).map(tuple)
                for layer, count in enumerate(CODES_PER_BLOCK)
            )
        )

    return num_blocks.flatmap(layers)


def two_readings(vocabulary: Vocabulary, codes: AudioCodes) -> bool:
    """Return whether the first acoustic code would continue the last word."""
    words = {tuple(vocabulary.token_ids(0, [code])) for code in range(len(vocabulary.words))}
    return (*vocabulary.token_ids(0, codes[0][-1:]), codes[1][0]) in words


def spell(grammar: AudioGrammar, token_ids: list[int], num_blocks: int) -> AudioConstraint:
    """Return the answer of these ids; it is incomplete before the last one."""
    answer = grammar.begin(num_blocks)
    for token_id in token_ids:
        assert not answer.complete
        answer.accept(token_id)
    return answer


def choose_ids(
    data: st.DataObject, grammar: AudioGrammar, num_blocks: int
) -> tuple[AudioConstraint, list[int]]:
    """Draw any possible answer."""
    answer, said = grammar.begin(num_blocks), []
    while not answer.complete:
        allowed = answer.allowed
        said.append(int(allowed[data.draw(st.integers(0, len(allowed) - 1))]))
        answer.accept(said[-1])
    return answer, said


@given(data=st.data(), num_blocks=st.integers(1, 4))
def test_whatever_is_said_reads_as_the_codes_that_spell_it(
    vocabulary: Vocabulary, grammar: AudioGrammar, data: st.DataObject, num_blocks: int
) -> None:
    answer, said = choose_ids(data, grammar, num_blocks)
    assert [len(layer) for layer in answer.codes] == [count * num_blocks for count in CODES_PER_BLOCK]
    assert vocabulary.flatten(answer.codes) == said
    assert parse_ids(vocabulary, said, num_blocks) == answer.codes
    assert len(said) <= answer.longest == grammar.begin(num_blocks).longest
    assert len(answer.allowed) == 0


@given(data=st.data())
def test_all_codes_can_be_said_but_where_the_first_acoustic_one_continues_the_last_word(
    vocabulary: Vocabulary, grammar: AudioGrammar, data: st.DataObject
) -> None:
    codes = data.draw(all_codes(vocabulary, st.integers(1, 3)))
    answer = spell(grammar, vocabulary.flatten(codes), len(codes[0]) // 2)
    assert answer.complete == (not two_readings(vocabulary, codes))
    assert not answer.complete or answer.codes == codes


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_every_code_of_every_layer_can_be_said(
    vocabulary: Vocabulary, grammar: AudioGrammar, layer: int
) -> None:
    for code in range(vocabulary.size(layer)):
        filled = [[0] * count for count in CODES_PER_BLOCK]
        filled[layer][-1] = code  # where no acoustic code of 0 continues a word
        answer = spell(grammar, vocabulary.flatten(filled), 1)
        assert [list(codes) for codes in answer.codes] == filled


def test_an_id_of_a_longer_word_continues_it_and_any_other_begins_the_next(
    vocabulary: Vocabulary, grammar: AudioGrammar, beginning: tuple[int, int]
) -> None:
    first, second = beginning
    one, two = grammar.codes[(first,)], grammar.codes[(first, second)]
    zeros: tuple[int, ...] = (0,) * 4
    assert spell(grammar, [first, second, first, *[0] * 12], 1).codes == ((two, one), zeros, zeros * 2)
    assert spell(grammar, [first, first, second, *[0] * 12], 1).codes == ((one, two), zeros, zeros * 2)
    assert second not in grammar.begin(1).allowed
    assert {first, second} <= set(spell(grammar, [first], 1).allowed.tolist())


def test_after_the_last_word_an_id_that_can_continue_it_does(
    grammar: AudioGrammar, beginning: tuple[int, int]
) -> None:
    first, second = beginning
    answer = spell(grammar, [first, first], 1)
    assert torch.equal(answer.allowed, grammar.acoustic)
    for token_id in (second, *range(3, 15)):
        answer.accept(token_id)
    assert answer.codes[0] == (grammar.codes[(first,)], grammar.codes[(first, second)])
    assert answer.codes[1] == (3, 4, 5, 6)


def test_a_word_that_is_not_begun_by_another_has_to_be_ended(vocabulary: Vocabulary) -> None:
    """Without one-id words that begin longer ones, only the second ids remain."""
    words = [word for code, word in enumerate(vocabulary.words) if len(vocabulary.token_ids(0, [code])) == 2]
    grammar = AudioGrammar(Vocabulary(words, vocabulary.tokenizer))
    for first in grammar.begins.tolist():
        seconds = sorted(second for begun, second in grammar.codes if begun == first)
        assert spell(grammar, [first], 1).allowed.tolist() == seconds


def test_in_acoustic_layers_every_id_may_come_and_none_ends_the_audio(
    vocabulary: Vocabulary, grammar: AudioGrammar
) -> None:
    tokenizer = vocabulary.tokenizer
    words = next(ids for ids in grammar.codes if not grammar.begins_pair(ids[0])) * 2
    answer = spell(grammar, [*words], 1)
    assert tokenizer.unk_id is not None
    for number in range(12):
        assert answer.allowed.tolist() == list(range(len(tokenizer)))
        answer.accept((tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id)[number % 3])
    assert answer.codes[1:] == ((0, 1, 2, 0), (1, 2, 0, 1, 2, 0, 1, 2))


@given(data=st.data(), num_said=st.integers(0, 20))
def test_what_may_not_come_next_is_refused_and_changes_nothing(
    grammar: AudioGrammar, data: st.DataObject, num_said: int
) -> None:
    _, said = choose_ids(data, grammar, 1)
    answer = spell(grammar, said[:num_said], 1)
    allowed = answer.allowed
    others = sorted({-1, *range(421)} - set(allowed.tolist()))
    with pytest.raises(PromptError, match="cannot come next"):
        answer.accept(data.draw(st.sampled_from(others)))
    assert torch.equal(answer.allowed, allowed)
    assert allowed.dtype == torch.int64
    assert allowed.tolist() == sorted(set(allowed.tolist()))


def test_answers_of_one_grammar_do_not_share_what_is_said(grammar: AudioGrammar) -> None:
    first, second = grammar.begin(1), grammar.begin(1)
    first.accept(int(first.allowed[0]))
    assert torch.equal(second.allowed, grammar.begins)


def test_an_incomplete_answer_has_no_codes(grammar: AudioGrammar) -> None:
    with pytest.raises(PromptError, match="not complete"):
        _ = grammar.begin(1).codes


@pytest.mark.parametrize("num_blocks", [0, -1])
def test_audio_without_a_block_is_refused(grammar: AudioGrammar, num_blocks: int) -> None:
    with pytest.raises(PromptError, match="at least 1"):
        grammar.begin(num_blocks)


def test_a_codec_without_words_has_no_grammar(tokenizer: TextTokenizer) -> None:
    with pytest.raises(BadCodes, match="no word list"):
        AudioGrammar(Vocabulary((), tokenizer))


@pytest.mark.data
def test_every_released_code_can_be_said(released: Vocabulary, released_grammar: AudioGrammar) -> None:
    acoustic = tuple(range(32000))
    codes = (tuple(range(3248)) * 2, acoustic[:12992], acoustic[12992:] + acoustic[:6976])
    assert not two_readings(released, codes)
    assert spell(released_grammar, released.flatten(codes), 3248).codes == codes


@pytest.mark.data
@given(data=st.data())
def test_released_codes_are_said_as_they_are_spelled(
    released: Vocabulary, released_grammar: AudioGrammar, data: st.DataObject
) -> None:
    codes = data.draw(all_codes(released, st.integers(1, 3)))
    answer = spell(released_grammar, released.flatten(codes), len(codes[0]) // 2)
    assert answer.complete == (not two_readings(released, codes))
    assert not answer.complete or answer.codes == codes
