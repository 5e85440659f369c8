import hashlib
import json
from functools import cache

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from core.codec import LLMCodec
from core.codec.config import CodecConfig
from core.llama.files import model_fingerprint
from core.presets import preset_directory, preset_names
from core.tokens.vocabulary import TextTokenizer, Vocabulary

STATED = (
    "mini-codec/tokenizer.model",
    "mini-codec/words.txt",
    "mini-llama/tokenizer.model",
    "mini-llama/embeddings.safetensors",
    "mini-codec/model.safetensors",
    "mini-llama/model.safetensors",
    "mini-llama-audio/tokenizer.model",
    "mini-llama-audio/model.safetensors",
)
MOST_BYTES = 30 * 2**20
"""Of all presets together: more would be too much for a package."""

LABELS = {
    "esc-50": "dog, rain, sea waves, crying baby, clock tick, person sneeze, helicopter, chainsaw, rooster, "
    "fire crackling",
    "urbansound": "air_conditioner, car_horn, children_playing, dog_bark, drilling, engine_idling, gun_shot, "
    "jackhammer, siren, street_music",
    "accents": "american, malayalam, australian, telugu, bangla, indian, british, odiya, welsh, irish",
}


@cache
def preset_tokenizer() -> TextTokenizer:
    return TextTokenizer(preset_directory("mini-codec") / "tokenizer.model")


def preset_words() -> tuple[str, ...]:
    return tuple((preset_directory("mini-codec") / "words.txt").read_text(encoding="utf-8").splitlines())


def instruction(labels: list[str]) -> str:
    listed = " or ".join(f"'{label}'" for label in labels)
    return f"For each of the following input output pairs, output is one of [{listed}]\n"


def test_every_preset_is_named_and_found() -> None:
    assert preset_names() == ("mini-codec", "mini-llama", "mini-llama-audio")
    assert all((preset_directory(name) / "config.json").is_file() for name in preset_names())


def test_a_misspelt_preset_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="did you mean 'mini-codec'"):
        preset_directory("mini_codec")


def test_a_name_unlike_any_preset_is_answered_with_all_names() -> None:
    with pytest.raises(
        ValueError, match="mini-codec, mini-llama, mini-llama-audio; give one of these or the path"
    ):
        preset_directory("/somewhere/else")


def test_codec_config_words_tokenizer_and_embedding_table_fit_together() -> None:
    config = CodecConfig.from_json(preset_directory("mini-codec") / "config.json")
    table = load_file(preset_directory("mini-llama") / "embeddings.safetensors")["model.embed_tokens.weight"]
    assert config.codebook_sizes == (len(preset_words()), len(preset_tokenizer()), len(preset_tokenizer()))
    assert table.shape == (len(preset_tokenizer()), config.codebook_dim)
    assert config.block_length == 3840


def test_llama_config_fits_the_tokenizer_and_the_embedding_table() -> None:
    config = json.loads((preset_directory("mini-llama") / "config.json").read_text())
    table = load_file(preset_directory("mini-llama") / "embeddings.safetensors")["model.embed_tokens.weight"]
    assert (config["vocab_size"], config["hidden_size"]) == table.shape
    tokenizer = preset_tokenizer()
    assert (config["bos_token_id"], config["eos_token_id"]) == (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)


@pytest.mark.parametrize("name", ["mini-llama", "mini-llama-audio"])
def test_all_presets_have_one_tokenizer(name: str) -> None:
    assert TextTokenizer(preset_directory(name) / "tokenizer.model").sha256 == preset_tokenizer().sha256


def test_a_card_states_the_weights_beside_it() -> None:
    for name in preset_names():
        digest = hashlib.sha256((preset_directory(name) / "model.safetensors").read_bytes()).hexdigest()
        assert name == "mini-codec" or digest in (preset_directory(name) / "README.md").read_text("utf-8")


def test_presets_are_small() -> None:
    root = preset_directory("mini-codec").parent
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < MOST_BYTES


def test_a_stream_of_semantic_ids_has_one_reading() -> None:
    vocabulary = Vocabulary(preset_words(), preset_tokenizer())  # raises where it had two
    assert vocabulary.longest_word == 2


def test_words_are_printable_distinct_and_begin_a_piece() -> None:
    tokenizer = preset_tokenizer()
    ids = [tuple(tokenizer.encode(word)) for word in preset_words()]
    assert len(set(ids)) == 512
    assert {len(word_ids) for word_ids in ids} == {1, 2}
    assert all(tokenizer.piece(word_ids[0]).startswith("▁") for word_ids in ids)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in preset_words())


def test_prompt_pieces_break_up_as_in_llama() -> None:
    tokenizer = preset_tokenizer()
    demonstration = [tokenizer.piece(i) for i in tokenizer.encode("###\nInput: < ")]
    answer = [tokenizer.piece(i) for i in tokenizer.encode(" >\nOutput: ")]
    assert demonstration == ["▁###", "<0x0A>", "Input", ":", "▁<", "▁"]
    assert answer == ["▁", "▁>", "<0x0A>", "Output", ":", "▁"]
    assert tokenizer.encode("\n")[-1] == 13


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_an_instruction_of_ten_labels_takes_fewer_than_80_ids(labels: str) -> None:
    assert len(labels.split(", ")) == 10
    assert len(preset_tokenizer().encode(instruction(labels.split(", ")))) < 80


@pytest.mark.parametrize("label", ["dog bark", "狗叫", "собака лает", "🐕", "Wütend", "a\tb", "\x00", " "])
def test_a_label_in_any_language_has_ids_and_comes_back(label: str) -> None:
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(preset_directory("mini-llama") / "tokenizer.model")
    )
    assert model.decode(model.encode(label)) == label


@given(st.text(min_size=1))
def test_no_text_is_unknown_or_controls_the_model(text: str) -> None:
    token_ids = preset_tokenizer().encode(text)
    assert min(token_ids) > 2


@pytest.mark.parametrize("path", STATED)
def test_a_file_is_the_one_that_the_readme_states(path: str) -> None:
    root = preset_directory("mini-codec").parent
    digest = hashlib.sha256((root / path).read_bytes()).hexdigest()
    assert f"| `{path}` | `{digest}` |" in (root / "README.md").read_text(encoding="utf-8")


def test_the_presets_have_the_fingerprints_that_stored_rows_name() -> None:
    codec = LLMCodec.from_directory(preset_directory("mini-codec"))
    assert codec.fingerprint == "e1702e28d3735434dbd2c509ef36d9333ad0991b197441c214358db7ad637fd9"
    labels = model_fingerprint(preset_directory("mini-llama"), "float32")
    assert labels == "e40fb1f176777877580fa2af4b7c2ebfdebeb01832125dbe0a91799031451e54"
