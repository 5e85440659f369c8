"""Training text of the small tokenizer: sentences built from our own list of English words."""

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

WORD_LIST = Path(__file__).with_name("english.txt")

WordList = Mapping[str, tuple[str, ...]]
"""Words by kind, the more frequent first."""

PROMPT_LINES = (
    "For each of the following input output pairs, output is one of",
    "###Input: <",
    " >Output:",
    "Input: < Output: >",
    "###Input:",
    "Learn a foreign language for different digits, then generate the corresponding number using foreign "
    "language based on instruction",
    "Learning a new language and predict the tokens following the examples.",
    "an audio of the sound",
    "Instruction: Input Output",
    "the square root of the last digit of the sum of the sequence, what is next?",
    "Remove the noise. Clean the speech. Say the text. Make the sound.",
)

CHARACTERS = " ".join([*map(chr, range(0x21, 0x7F)), *"àáâãäåæçèéêëìíîïñòóôõöøœùúûüýßÄÅÉÖØÜ"])
"""Characters with a piece of their own; all others are spelled in byte pieces."""

TEMPLATES = (
    "The {adjective} {noun} can {verb} the {noun} {adverb}.",
    "A {noun} {present} near the {adjective} {noun}, {function} the {noun} {past}.",
    "They {verb} and {verb} {function} a {adjective} {noun}.",
    "I {past} the {sound} of a {noun} {gerund}",
    "We heard a {adjective} {sound} and the {animal} {past} {adverb}",
    "the {animal} and the {animal} {verb} {function} {noun}",
    "She {present} {number} {noun} {function} {number} {noun}",
    "It was a {feeling} {noun}; he {past} a {feeling} {noun}?",
    "{function} {noun} {present} {adverb} {function} {function} {noun}",
    "an audio of ({sound} {sound})",
    "the sound of {gerund} {noun} is {adjective}",
    "a {accent} {accent} speaker, {feeling}",
    "{number} {number} {number} what is the next?",
    "{function} {function} {verb} {noun} to {verb} {noun}",
    "you are {gerund} {function} {noun} and {gerund} {noun}",
)

BARE_KINDS = ("label", "label", "sound", "animal", "feeling", "accent")
"""Labels are quoted in an instruction, without a space before them: that form needs pieces too."""


def read_word_list(path: Path = WORD_LIST) -> WordList:
    """Read the words of each `[kind]`, in the order of the file; lines that begin with # are comments."""
    words: dict[str, tuple[str, ...]] = {}
    kind = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            kind = match[1]
        elif not line.startswith("#"):
            words[kind] = words.get(kind, ()) + tuple(line.split())
    return {kind: listed for kind, listed in words.items() if listed}


def sentences(words: WordList, seed: int, *, count: int = 20000) -> Iterator[str]:
    """Yield lines of text without newlines, the same for the same seed.

    Every word occurs many times, so that even the last of the list influences the pieces.
    """
    random_words = _WeightedWords(words, random.Random(seed))
    yield CHARACTERS
    yield from PROMPT_LINES * (count // 50)
    for index in range(count):
        yield random_words.fill(TEMPLATES[index % len(TEMPLATES)])
        if index % 2 == 0:
            yield random_words.instruction()
    for listed in words.values():
        yield from listed * (count // 1000)


class _WeightedWords:
    """Random words of a kind; a word's weight falls with its rank."""

    def __init__(self, words: WordList, rng: random.Random) -> None:
        self._words = words
        self._weights = {
            kind: [1 / (rank + 50) for rank in range(len(listed))] for kind, listed in words.items()
        }
        self._rng = rng

    def draw(self, kind: str) -> str:
        return self._rng.choices(self._words[kind], self._weights[kind])[0]

    def fill(self, template: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: self.draw(match[1]), template)

    def instruction(self) -> str:
        """Return an instruction's label list: `output is one of ['dog' or 'mouse_click']`."""
        labels = [self.draw(self._rng.choice(BARE_KINDS)) for _ in range(self._rng.randint(2, 6))]
        return f"output is one of [{' or '.join(repr(label) for label in labels)}]"
