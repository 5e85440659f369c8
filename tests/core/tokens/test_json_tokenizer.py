from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from core.errors import BadCodes, CheckpointMismatch
from core.prompts.audio_grammar import AudioGrammar
from core.prompts.template import PromptTemplate
from core.tokens.json_tokenizer import JsonTokenizer
from core.tokens.vocabulary import Vocabulary

TEXTS = (
    "the dog barks in the rain",
    "###\nInput: < above across >\nOutput: happy",
    "a cat and a bird are sad",
)
WORDS = ("above", "across", "unutterable", "sheep", "Sheep", "aglow")
CONTROLS = ["<|unknown|>", "<|begin|>", "<|end|>"]


@pytest.fixture(scope="session")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> JsonTokenizer:
    """Return a byte-level BPE like those of SmolLM2 and LLaMA 3."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=CONTROLS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return saved(tokenizer, tmp_path_factory.mktemp("byte_level"))


@pytest.fixture(scope="session")
def space_writing(tmp_path_factory: pytest.TempPathFactory) -> JsonTokenizer:
    """Return a BPE that writes a space before every text, like LLaMA 2's in this format."""
    tokenizer = Tokenizer(models.BPE(unk_token=CONTROLS[0]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=90, special_tokens=CONTROLS))
    return saved(tokenizer, tmp_path_factory.mktemp("space_writing"))


def saved(tokenizer: Tokenizer, folder: Path) -> JsonTokenizer:
    tokenizer.save(str(folder / "tokenizer.json"))
    return JsonTokenizer(folder / "tokenizer.json", 1, 2)


@given(text=st.text(max_size=30))
def test_every_text_is_spelled_and_read_back(byte_level: JsonTokenizer, text: str) -> None:
    assert byte_level.decode(byte_level.encode(text)) == f" {text.strip(' ')}"


def test_joined_pieces_read_as_words_with_single_spaces(byte_level: JsonTokenizer) -> None:
    pieces = ["###\nInput: < ", *WORDS, " >\nOutput: ", "dog bark", "###\nInput: < "]
    text = byte_level.decode([token_id for piece in pieces for token_id in byte_level.encode(piece)])
    assert text == f" ###\nInput: < {' '.join(WORDS)} >\nOutput: dog bark ###\nInput: <"


def test_a_tokenizer_that_writes_the_space_itself_gets_pieces_as_they_are(
    space_writing: JsonTokenizer,
) -> None:
    assert space_writing.piece(space_writing.encode("dog")[0]).startswith("▁")
    assert space_writing.decode(space_writing.encode("dog ")) == "dog "


@pytest.mark.parametrize("name", ["byte_level", "space_writing"])
def test_text_never_becomes_a_control_id(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(name)
    assert not {1, 2} & set(tokenizer.encode("<|begin|>dog<|end|>"))


def test_what_cannot_be_spelled_is_known(byte_level: JsonTokenizer, space_writing: JsonTokenizer) -> None:
    assert byte_level.unk_id is None
    assert space_writing.unk_id in space_writing.encode("\N{SNOWMAN}")


def test_words_of_several_ids_have_one_reading(byte_level: JsonTokenizer) -> None:
    vocabulary = Vocabulary(WORDS, byte_level, acoustic=False)
    assert vocabulary.longest_word > 2
    assert byte_level.decode(vocabulary.token_ids(0, [3, 0, 4])) == " sheep above Sheep"


def test_acoustic_codes_are_refused_in_another_tokenizer(byte_level: JsonTokenizer) -> None:
    vocabulary = Vocabulary(WORDS, byte_level, acoustic=False)
    with pytest.raises(BadCodes, match="another tokenizer than the codec"):
        vocabulary.token_ids(1, [7])
    with pytest.raises(BadCodes, match="another tokenizer than the codec"):
        AudioGrammar(vocabulary)


def test_labels_are_spelled_with_their_own_words(byte_level: JsonTokenizer) -> None:
    template = PromptTemplate(Vocabulary(WORDS, byte_level, acoustic=False))
    assert byte_level.decode(template.label_ids("Ton „dog“")) == " Ton „dog“"
    assert byte_level.piece(template.following_id).startswith("Ġ")


def test_ids_outside_are_refused(byte_level: JsonTokenizer, tmp_path: Path) -> None:
    for token_id in (-1, len(byte_level)):
        with pytest.raises(BadCodes, match="not among"):
            byte_level.piece(token_id)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointMismatch, match="not a tokenizer of Hugging Face"):
        JsonTokenizer(tmp_path / "tokenizer.json", 1, 2)
