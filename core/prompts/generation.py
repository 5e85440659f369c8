"""The generation prompt as token ids: a text or audio in brackets, and audio as the answer.

The paper prints the prompt of speech (appendix C.2) and none for sounds and denoising; no code of it was
released. The pieces are those of labeling: `###\\nInput: < ` request ` >\\nOutput: ` answer, with nothing
after an answer, since its length is known.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import PromptError
from core.prompts.limits import MAX_TEXT_CHARACTERS
from core.prompts.template import CLOSING, OPENING
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import WindowCodes

TEMPLATE_VERSION = 1

GenerationTask = Literal["speech", "sound", "denoise"]

INSTRUCTIONS: dict[GenerationTask, str] = {
    "speech": "Learn a foreign language for different digits, then generate the corresponding number using "
    "foreign language based on instruction",
    "sound": "Learn a foreign language for different sounds, then generate the corresponding sound using "
    "foreign language based on instruction",
    "denoise": "Learn a foreign language and say each input without its noise, following the examples",
}
"""The paper's for speech; its prompt for sounds has the same setting, and none is printed for denoising."""


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """A demonstration of generation: the request in brackets (a text or noisy audio), and its answer."""

    request: str | WindowCodes
    answer: WindowCodes


class GenerationTemplate:
    """Converts the parts of a generation prompt to token ids."""

    def __init__(self, vocabulary: Vocabulary, task: GenerationTask) -> None:
        self.task = task
        self._vocabulary = vocabulary
        tokenizer = vocabulary.tokenizer
        self._opening_ids, self._closing_ids = tokenizer.encode(OPENING), tokenizer.encode(CLOSING)

    def prefix_ids(self, instruction: str | None, examples: Sequence[Example], repeats: int = 0) -> list[int]:
        """Return the part shared by all queries. Demonstrations appear once, and `repeats` times more."""
        tokenizer = self._vocabulary.tokenizer
        opening = [tokenizer.bos_id, *(tokenizer.encode(f"{instruction}\n") if instruction else [])]
        shots = [token_id for one in examples for token_id in self.example_ids(one)]
        return opening + shots * (1 + repeats)

    def example_ids(self, example: Example) -> list[int]:
        """Return the ids of a demonstration: the request and its answer."""
        return self.query_ids(example.request) + self._vocabulary.flatten(example.answer.layers)

    def query_ids(self, request: str | WindowCodes) -> list[int]:
        """Return the ids of a request up to the answer. Raises PromptError for an invalid text."""
        return [*self._opening_ids, *self._request_ids(request), *self._closing_ids]

    def _request_ids(self, request: str | WindowCodes) -> list[int]:
        if not isinstance(request, str):
            return self._vocabulary.flatten(request.layers)
        check_text(request)
        token_ids = self._vocabulary.tokenizer.encode(f"an audio of {request}")
        if self._vocabulary.tokenizer.unk_id in token_ids:
            raise PromptError(f"the tokenizer cannot spell the text {request!r}: use other words")
        return token_ids


def check_text(text: str) -> None:
    """Raise PromptError for a text that is empty, too long, or contains prompt markers."""
    excerpt = text if len(text) <= 40 else f"{text[:40]}..."
    if not text.strip():
        raise PromptError("the text is empty: describe the audio")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise PromptError(
            f"the text {excerpt!r} has {len(text)} characters, at most {MAX_TEXT_CHARACTERS} are allowed"
        )
    if "###" in text or not text.isprintable():
        raise PromptError(
            f"the text {excerpt!r} holds '###' or a line break or another control character, which would be "
            "read as the prompt's own: leave it out"
        )


def generation_hash(prefix_ids: Sequence[int], task: GenerationTask) -> str:
    """Return the hex sha256 of the prompt without the query."""
    parts = {"template": TEMPLATE_VERSION, "task": task, "prefix": list(prefix_ids)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
