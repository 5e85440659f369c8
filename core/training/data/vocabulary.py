"""The small vocabulary in place of LLaMA 2's: tokenizer, word list and embedding table.

`python -m core.training.data.vocabulary OUT` writes the files that are frozen under core/presets, the same
bytes each time. Everything that the mini models learn depends on them.
"""

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from safetensors.numpy import save_file

from core.training.data.corpus import WordList, read_word_list, sentences

SEED = 20260
VOCABULARY_SIZE = 3072
SEMANTIC_CODES = 512
TWO_ID_WORDS = 64
EMBEDDING_DIM = 128
EMBEDDING_NAME = "model.embed_tokens.weight"
"""Name of the tensor in a Hugging Face LLaMA, so that the table loads unchanged."""

SEMANTIC_KINDS = ("noun", "verb", "adjective", "adverb")
LABEL_KINDS = ("function", "number", "sound", "animal", "feeling", "accent", "label")
"""Words used as labels or in the prompt name no code, so that each id has one meaning."""


def train_tokenizer(lines: Iterable[str]) -> bytes:
    """Train a sentencepiece BPE model with LLaMA's conventions; return the bytes of `tokenizer.model`.

    <unk> 0, <s> 1, </s> 2, byte pieces 3 to 258 (newline is 13), single digits, a dummy ▁ in front, and no
    normalization.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def semantic_words(words: WordList, tokenizer: sentencepiece.SentencePieceProcessor) -> tuple[str, ...]:
    """Return the word of each semantic code in alphabetical order, like the released `layer1.npy`.

    The most frequent words of one id, and `TWO_ID_WORDS` of two ids whose second id begins no word: a stream
    of ids then splits into words in only one way.
    """
    one_id: list[str] = []
    two_ids: list[str] = []
    for word in _candidates(words):
        pieces = tokenizer.encode(word, out_type=str)
        if len(pieces) == 1:
            one_id.append(word)
        elif len(pieces) == 2 and len(pieces[0]) > 2:
            two_ids.append(word)
    chosen = one_id[: SEMANTIC_CODES - TWO_ID_WORDS] + two_ids[:TWO_ID_WORDS]
    if len(chosen) != SEMANTIC_CODES:
        raise ValueError(f"only {len(chosen)} words of one or two ids: {SEMANTIC_CODES} are needed")
    return tuple(sorted(chosen))


def embedding_table(seed: int) -> NDArray[np.float32]:
    """Return (VOCABULARY_SIZE, EMBEDDING_DIM) Gaussian vectors of about unit length, never trained."""
    # RandomState, since numpy promises its stream for good, and a Generator's only within a version.
    drawn = np.random.RandomState(seed).standard_normal((VOCABULARY_SIZE, EMBEDDING_DIM))
    return np.asarray(drawn / np.sqrt(EMBEDDING_DIM), dtype=np.float32)


def write_vocabulary(out: Path) -> None:
    """Write OUT/mini-codec and OUT/mini-llama, as in core/presets."""
    words = read_word_list()
    model = train_tokenizer(sentences(words, SEED))
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    codec, llama = out / "mini-codec", out / "mini-llama"
    for directory in (codec, llama):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.model").write_bytes(model)
    listed = "".join(f"{word}\n" for word in semantic_words(words, tokenizer))
    (codec / "words.txt").write_text(listed, encoding="utf-8")
    save_file({EMBEDDING_NAME: embedding_table(SEED)}, llama / "embeddings.safetensors")


def _candidates(words: WordList) -> Iterator[str]:
    """Yield words of the semantic kinds by rank, one of each kind in turn, each word once."""
    taken = {word for kind in LABEL_KINDS for word in words[kind]}
    for rank in range(max(len(words[kind]) for kind in SEMANTIC_KINDS)):
        for kind in SEMANTIC_KINDS:
            word = words[kind][rank] if rank < len(words[kind]) else ""
            if word and word not in taken:
                taken.add(word)
                yield word


if __name__ == "__main__":
    write_vocabulary(Path(sys.argv[1]))
