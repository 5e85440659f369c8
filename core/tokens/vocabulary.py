"""Codes, words and token ids, and the conversion between them (paper, section 3.2).

A semantic code is an index into the codec's word list, and a word is one or two ids of LLaMA 2's tokenizer,
or a few of another one's. A code of the acoustic layers is a token id of LLaMA 2.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from core.errors import BadCodes, CheckpointMismatch


class TextTokenizer:
    """LLaMA's SentencePiece model. Text never becomes a control id, and none is added.

    max_word_ids: the largest number of ids of a word of the codec. unk_id: what text becomes that cannot be
    spelled, None if there is none.
    """

    max_word_ids = 2
    unk_id: int | None

    def __init__(self, path: str | Path) -> None:
        model = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(model).hexdigest()
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise CheckpointMismatch(f"{path} is not a SentencePiece model: {error}") from error
        self.bos_id: int = self._processor.bos_id()
        self.eos_id: int = self._processor.eos_id()
        self.unk_id = self._processor.unk_id()

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        return [int(token_id) for token_id in self._processor.encode(text)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, without control ids."""
        return str(self._processor.decode(list(token_ids)))

    def piece(self, token_id: int) -> str:
        """Return the spelling of a token id, with ▁ for a leading space.

        Raises BadCodes for an unknown id.
        """
        if not 0 <= token_id < len(self):
            raise BadCodes(f"token id {token_id} is outside the tokenizer's {len(self)} pieces")
        return str(self._processor.id_to_piece(int(token_id)))


class Vocabulary:
    """The words of a codec in the ids of a tokenizer.

    A stream of semantic ids has one reading: no id that continues a word also begins one. That is checked
    here, and true for the released list. An empty word list is enough for the acoustic layers. They have ids
    only in the tokenizer that the codec was made with: `acoustic` is false for any other.
    """

    def __init__(self, words: Sequence[str], tokenizer: TextTokenizer, *, acoustic: bool = True) -> None:
        self.words = tuple(words)
        self.tokenizer = tokenizer
        self.acoustic = acoustic
        self._word_ids = tuple(_encode_word(word, tokenizer) for word in self.words)
        self._codes = {ids: code for code, ids in enumerate(self._word_ids)}
        self._check_one_reading()

    @property
    def longest_word(self) -> int:
        """Largest number of token ids of a semantic code; 0 without words."""
        return max(map(len, self._word_ids), default=0)

    def size(self, layer: int) -> int:
        """Return the number of codes of a layer."""
        if layer not in (0, 1, 2):
            raise BadCodes(f"layer {layer} does not exist: 0 is semantic, 1 and 2 are acoustic")
        return len(self.words) if layer == 0 else len(self.tokenizer)

    def token_ids(self, layer: int, codes: Iterable[int]) -> list[int]:
        """Return the concatenated token ids of a layer's codes. Raises BadCodes for a code out of range."""
        values: list[int] = np.fromiter(codes, dtype=np.int64).tolist()
        self._check_range(layer, values)
        if layer:
            return values
        return [token_id for code in values for token_id in self._word_ids[code]]

    def word(self, layer: int, code: int) -> str:
        """Return the spelling of a code: its word, or the piece of an acoustic code."""
        self._check_range(layer, [code])
        return self.tokenizer.piece(code) if layer else self.words[code]

    def flatten(self, layers: Sequence[Iterable[int]]) -> list[int]:
        """Return the token ids of three layers: all semantic words, then layer 1, then layer 2."""
        return [token_id for layer, codes in enumerate(layers) for token_id in self.token_ids(layer, codes)]

    def check_acoustic(self) -> None:
        """Raise BadCodes if the acoustic codes have no ids in this tokenizer."""
        if not self.acoustic:
            raise BadCodes(
                "the language model has another tokenizer than the codec: acoustic codes have no ids in it; "
                "label with the layers 'semantic', and generate with a model of the codec's own tokenizer"
            )

    def _check_range(self, layer: int, codes: Sequence[int]) -> None:
        if layer:
            self.check_acoustic()
        size = self.size(layer)
        if size == 0:
            raise BadCodes("the codec has no word list (words.txt): its semantic codes have no token ids")
        for code in codes:
            if not 0 <= code < size:
                raise BadCodes(f"code {code} of layer {layer} is out of range: the layer has {size} codes")

    def _check_one_reading(self) -> None:
        if len(self._codes) != len(self.words):
            twice = next(
                word for code, word in enumerate(self.words) if self._codes[self._word_ids[code]] != code
            )
            raise CheckpointMismatch(f"the word {twice!r} has the token ids of another word of the list")
        begins = {ids[0] for ids in self._word_ids}
        for word, ids in zip(self.words, self._word_ids, strict=True):
            if begins.intersection(ids[1:]):
                raise CheckpointMismatch(
                    f"the word {word!r} ends with a token id that begins another word: "
                    "the ids of a clip would have two readings"
                )


def _encode_word(word: str, tokenizer: TextTokenizer) -> tuple[int, ...]:
    ids = tuple(tokenizer.encode(word))
    if not 1 <= len(ids) <= tokenizer.max_word_ids or tokenizer.unk_id in ids:
        known = "1 or 2" if tokenizer.max_word_ids == 2 else f"1 to {tokenizer.max_word_ids}"
        raise CheckpointMismatch(
            f"the word {word!r} has the token ids {list(ids)}, a word of the codec has {known} known ones: "
            "the word list and the tokenizer do not belong together"
        )
    return ids
