"""Tokenizers of Hugging Face, `tokenizer.json`, such as the byte-level BPE of most newer LLMs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from core.errors import BadCodes, CheckpointMismatch
from core.tokens.vocabulary import TextTokenizer

SPACE_MARKS = ("▁", "Ġ", " ")
"""How tokens write a leading space."""


class JsonTokenizer(TextTokenizer):
    """The tokenizer of a `tokenizer.json`. Text never becomes a control id, and none is added.

    Pieces of a prompt are encoded one by one, and LLaMA's own tokenizer puts a space before each. A tokenizer
    that does not is given each piece with one space before it and none after it, so that joined pieces read
    as words with single spaces. `bos_id` and `eos_id` are those of the model's config.json.
    """

    max_word_ids = 16

    def __init__(self, path: str | Path, bos_id: int, eos_id: int) -> None:
        content = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises nothing narrower
            raise CheckpointMismatch(f"{path} is not a tokenizer of Hugging Face: {error}") from error
        self._tokenizer.encode_special_tokens = True  # "<s>" in a text is three characters
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.bos_id, self.eos_id, self.unk_id = bos_id, eos_id, self._unknown_id()
        for token_id in (bos_id, eos_id):
            self.piece(token_id)
        first = self._tokenizer.encode("a", add_special_tokens=False).tokens[:1]
        self._writes_space = bool(first) and first[0].startswith(SPACE_MARKS)

    def __len__(self) -> int:
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        spelled = text if self._writes_space else f" {text.strip(' ')}"
        return list(self._tokenizer.encode(spelled, add_special_tokens=False).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, without control ids."""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def piece(self, token_id: int) -> str:
        """Return the spelling of a token id. Raises BadCodes for an unknown id."""
        spelled = self._tokenizer.id_to_token(int(token_id)) if token_id >= 0 else None
        if spelled is None:
            raise BadCodes(f"token id {token_id} is not among the tokenizer's {len(self)} ids")
        return str(spelled)

    def _unknown_id(self) -> int | None:
        """Return the id of what the tokenizer cannot spell; None for one that spells every byte."""
        name = getattr(self._tokenizer.model, "unk_token", None)
        return None if name is None else self._tokenizer.token_to_id(name)
