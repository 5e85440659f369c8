"""The token ids that may come next in audio of a known length.

Audio of m blocks is 2m words of the codec, 4m codes of the first acoustic layer, then 8m of the second. Every
id is a code there, including those that end or pad a text: nothing ends audio before its full length.

A word of one id may be the beginning of a word of two, and only the next id decides. If it can continue the
word, it does. After the last word it could also be the first acoustic code, since the same ids spell both.
One reading has to win, and it is the one that applies inside the layer. So the few codes that need the other
reading can appear in a prompt, but never in an answer.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from core.errors import BadCodes, PromptError
from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes
from core.tokens.vocabulary import Vocabulary


class AudioGrammar:
    """The possible answers of audio in the words of one codec.

    codes: the semantic code of each word by its ids. begins, acoustic (n,) int64, ascending: the first ids of
    words, and the ids of an acoustic layer. Raises BadCodes for a codec without words.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        if not vocabulary.words:
            raise BadCodes("the codec has no word list (words.txt): no language model can use it")
        vocabulary.check_acoustic()
        self.longest_word = vocabulary.longest_word
        self.codes = {tuple(vocabulary.token_ids(0, [code])): code for code in range(vocabulary.size(0))}
        self.begins = _ascending(ids[0] for ids in self.codes)
        self.acoustic = torch.arange(vocabulary.size(1))
        self._after = self._continuations()

    def begin(self, num_blocks: int) -> "AudioConstraint":
        """Return the constraint of an empty answer. Raises PromptError for less than one block."""
        return AudioConstraint(self, num_blocks)

    def begins_pair(self, token_id: int) -> bool:
        """Return whether a word of two ids begins with this one."""
        return token_id in self._after

    def ids_after(self, token_id: int, *, last: bool) -> Tensor:
        """Return the ids that may follow the first id of a longer word; last: no other word may follow."""
        return self._after[token_id][last]

    def _continuations(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Return, by the first id of each word of two, the ids that may follow inside the layer and at its
        end.
        """
        seconds: dict[int, list[int]] = defaultdict(list)
        for ids in self.codes:
            if len(ids) == 2:
                seconds[ids[0]].append(ids[1])
        ids_after = {}
        for first, continuing in seconds.items():
            only = _ascending(continuing)
            or_next = _ascending([*continuing, *self.begins.tolist()])
            ids_after[first] = (or_next, self.acoustic) if (first,) in self.codes else (only, only)
        return ids_after


class AudioConstraint:
    """The state of one answer: the ids so far, and those that may follow."""

    def __init__(self, grammar: AudioGrammar, num_blocks: int) -> None:
        if num_blocks < 1:
            raise PromptError(f"audio of {num_blocks} blocks is empty: at least 1 (0.24 s) is needed")
        self._grammar = grammar
        self._lengths = tuple(count * num_blocks for count in CODES_PER_BLOCK)
        self._words: list[int] = []
        self._begun: int | None = None
        self._acoustic: list[int] = []

    @property
    def longest(self) -> int:
        """Upper bound of the length of the whole answer in ids."""
        semantic, acoustic1, acoustic2 = self._lengths
        return semantic * self._grammar.longest_word + acoustic1 + acoustic2

    @property
    def complete(self) -> bool:
        """Whether the answer has its full length."""
        return len(self._acoustic) == self._lengths[1] + self._lengths[2]

    @property
    def allowed(self) -> Tensor:
        """Ids that may come next, (n,) int64, ascending; none once the answer is complete."""
        left = self._lengths[0] - len(self._words)
        if self._begun is not None:
            return self._grammar.ids_after(self._begun, last=left == 1)
        if left:
            return self._grammar.begins
        return self._grammar.acoustic[: 0 if self.complete else None]

    def accept(self, token_id: int) -> None:
        """Append the next id. Raises PromptError for one that is not allowed."""
        if not _holds(self.allowed, token_id):
            raise PromptError(f"the token id {token_id} cannot come next in audio: choose an allowed one")
        begun, self._begun = self._begun, None
        if begun is not None:
            pair = (begun, token_id)
            self._words.append(self._grammar.codes[pair if pair in self._grammar.codes else (begun,)])
            if pair in self._grammar.codes:
                return
        if len(self._words) == self._lengths[0]:
            self._acoustic.append(token_id)
        elif self._grammar.begins_pair(token_id):
            self._begun = token_id
        else:
            self._words.append(self._grammar.codes[(token_id,)])

    @property
    def codes(self) -> AudioCodes:
        """The answer in codes. Raises PromptError before it is complete."""
        if not self.complete:
            raise PromptError("the answer has no codes yet: it is not complete")
        end = self._lengths[1]
        return tuple(self._words), tuple(self._acoustic[:end]), tuple(self._acoustic[end:])


def _ascending(token_ids: Iterable[int]) -> Tensor:
    return torch.tensor(sorted(set(token_ids)))


def _holds(ascending: Tensor, token_id: int) -> bool:
    at = int(torch.searchsorted(ascending, token_id))
    return at < len(ascending) and int(ascending[at]) == token_id
