"""The codes of token ids, read back word by word: the inverse that flattening is compared with."""

from collections.abc import Sequence

from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes
from core.tokens.vocabulary import Vocabulary


def parse_ids(vocabulary: Vocabulary, token_ids: Sequence[int], num_blocks: int) -> AudioCodes:
    """Return the codes of the ids of `num_blocks` blocks; the acoustic layers have a known length."""
    semantic, acoustic1, acoustic2 = (count * num_blocks for count in CODES_PER_BLOCK)
    end = len(token_ids) - acoustic1 - acoustic2
    words = parse_words(vocabulary, token_ids[:end])
    assert len(words) == semantic
    return words, tuple(token_ids[end : end + acoustic1]), tuple(token_ids[end + acoustic1 :])


def parse_words(vocabulary: Vocabulary, token_ids: Sequence[int]) -> tuple[int, ...]:
    """Return the semantic codes of ids; a word may begin another, so the longer one is tried first."""
    known = {tuple(vocabulary.token_ids(0, [code])): code for code in range(vocabulary.size(0))}
    codes: list[int] = []
    start = 0
    while start < len(token_ids):
        pair = tuple(token_ids[start : start + 2])
        ids = pair if pair in known else pair[:1]
        codes.append(known[ids])
        start += len(ids)
    return tuple(codes)
