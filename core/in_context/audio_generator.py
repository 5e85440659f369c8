"""Speech, sounds and denoised audio: a frozen language model is shown examples and says the codes of another.

What is said is codes and nothing else reaches the answer: LLMCodec.decode makes audio of it as of any codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import torch
from torch import Tensor

from core.errors import PromptError, PromptTooLong
from core.llama.model import Choose, FrozenLlama
from core.llama.shared_prefix import SharedPrefix
from core.prompts.audio_grammar import AudioGrammar
from core.prompts.generation import Example, GenerationTask, GenerationTemplate, generation_hash
from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes, ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import WindowCodes, cut_window


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the next id is chosen among those that may come next.

    temperature 0 takes the most probable one. Over 0 one is drawn, with logits divided by the temperature,
    among the most probable ids that hold `top_p` of the probability together.
    """

    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ValueError(f"temperature {self.temperature} must be 0 (the most probable id) or at most 10")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must be over 0 and at most 1")

    def choose(self, seed: int) -> Choose:
        """The choice of one answer. Its noise is its own, so that no other answer changes it."""
        if self.temperature == 0:
            return _most_probable
        noise = torch.Generator().manual_seed(seed)
        return lambda logits: _draw(logits, self, noise)


@dataclass(frozen=True, eq=False, slots=True)
class AudioQuery:
    """What is asked for: a text, or the audio to denoise.

    num_blocks: how many blocks of 0.24 s the answer has. seed: of the answer's noise, where it is drawn.
    """

    request: str | WindowCodes
    num_blocks: int
    seed: int = 0


class AudioGenerator:
    """Shows a frozen language model the examples of a task and asks it for audio.

    The examples come once, and `repeats` times again. The prefix is read when the first query comes. Raises
    PromptError for examples that do not fit the task, PromptTooLong when they alone pass the context.
    """

    def __init__(
        self,
        llama: FrozenLlama,
        vocabulary: Vocabulary,
        task: GenerationTask,
        examples: Sequence[Example],
        *,
        instruction: str | None,
        repeats: int = 0,
        decoding: Decoding = Decoding(),
    ) -> None:
        llama.check_tokenizer(vocabulary.tokenizer)
        _check_examples(task, examples, repeats)
        self.task = task
        self.decoding = decoding
        self._llama = llama
        self._reading = Lock()
        self._template = GenerationTemplate(vocabulary, task)
        self._grammar = AudioGrammar(vocabulary)
        self.prefix_ids = self._template.prefix_ids(instruction, examples, repeats)
        self._check_budget(len(self.prefix_ids))

    @cached_property
    def prompt_hash(self) -> str:
        """Hex sha256 of the prefix, the template and the task; the query is not in it."""
        return generation_hash(self.prefix_ids, self.task)

    def check(self, query: AudioQuery) -> None:
        """Raise PromptError for a query that cannot be asked, PromptTooLong for one that does not fit."""
        _check_request(self.task, query.request)
        longest = self._grammar.begin(query.num_blocks).longest
        if not isinstance(query.request, str):
            _check_length(query.request, query.num_blocks)
        self._check_budget(len(self.prefix_ids) + len(self._template.query_ids(query.request)) + longest)

    def generate(self, queries: Sequence[AudioQuery]) -> list[AudioCodes]:
        """The codes of each answer, in order. Raises as `check` does, before anything runs."""
        for query in queries:
            self.check(query)
        if not queries:
            return []
        answers = [self._grammar.begin(query.num_blocks) for query in queries]
        asked = [self._template.query_ids(query.request) for query in queries]
        choose = [self.decoding.choose(query.seed) for query in queries]
        with self._reading:
            prefix = self._prefix
        self._llama.generate(prefix, asked, answers, choose)
        return [answer.codes for answer in answers]

    @cached_property
    def _prefix(self) -> SharedPrefix:
        return self._llama.prefill(self.prefix_ids)

    def _check_budget(self, needed: int) -> None:
        if needed > self._llama.context_length:
            shorter = "denoise in (shorter) slices" if self.task == "denoise" else "ask for shorter audio"
            advice = f"{shorter}, or show fewer or shorter examples or repeat them less often"
            raise PromptTooLong(needed, self._llama.context_length, advice)


def denoise(
    generator: AudioGenerator, clip: ClipCodes, *, slice_blocks: int | None, seed: int = 0
) -> AudioCodes:
    """The codes of a clip without its noise, as long as the clip.

    slice_blocks None asks for the whole clip at once, and raises PromptTooLong where that does not fit. Else
    every slice of so many blocks is asked for alone, the last one as long as is left, and slice n draws its
    noise from seed + n. The codes are joined: decoded once, they have no seams.
    """
    if slice_blocks is not None and slice_blocks < 1:
        raise ValueError(f"a slice of {slice_blocks} blocks is empty: it needs at least 1, 0.24 s")
    blocks = slice_blocks or clip.num_blocks
    starts = range(0, clip.num_blocks, blocks)
    per_block = CODES_PER_BLOCK[0]
    windows = [cut_window(clip, start * per_block, blocks * per_block) for start in starts]
    slices = generator.generate(
        [AudioQuery(part, len(part.semantic) // per_block, seed + n) for n, part in enumerate(windows)]
    )
    return _joined(slices)


def _joined(slices: Sequence[AudioCodes]) -> AudioCodes:
    semantic, acoustic1, acoustic2 = (
        tuple(code for layer in layers for code in layer) for layers in zip(*slices, strict=True)
    )
    return semantic, acoustic1, acoustic2


def _most_probable(logits: Tensor) -> int:
    """The first of the largest: of equally probable ids the smallest."""
    return int(logits.argmax())


def _draw(logits: Tensor, decoding: Decoding, noise: torch.Generator) -> int:
    """One of (n,) logits at random.

    The largest of logits with Gumbel noise is a draw from their softmax. Unlike a walk along the cumulated
    probabilities it turns on two logits alone, so the last bits of the other thousands cannot change it.
    """
    scaled = (logits.double() - logits.max()) / decoding.temperature
    gumbel = -torch.empty_like(scaled).exponential_(generator=noise).log()
    return int((scaled + gumbel).masked_fill(~_in_top_p(scaled, decoding.top_p), -torch.inf).argmax())


def _in_top_p(logits: Tensor, top_p: float) -> Tensor:
    """(n,) bool: the fewest most probable ids that hold `top_p` together; of equal ones the first."""
    if top_p == 1:
        return torch.ones_like(logits, dtype=torch.bool)
    order = logits.argsort(descending=True, stable=True)  # logits that differ may have equal probabilities
    probabilities = logits.softmax(dim=0)[order]
    before = probabilities.cumsum(dim=0) - probabilities
    return torch.empty_like(before, dtype=torch.bool).scatter(0, order, before < top_p)


def _check_examples(task: GenerationTask, examples: Sequence[Example], repeats: int) -> None:
    if not examples:
        raise PromptError("no examples to learn from: show the language model at least one")
    if repeats < 0:
        raise ValueError(f"repeats {repeats} must be at least 0")
    for example in examples:
        _check_request(task, example.request)


def _check_request(task: GenerationTask, request: str | WindowCodes) -> None:
    if isinstance(request, str) == (task == "denoise"):
        given, wanted = ("a text", "audio") if task == "denoise" else ("audio", "a text")
        raise PromptError(f"the task {task!r} was asked with {given}: it answers {wanted}")


def _check_length(request: WindowCodes, num_blocks: int) -> None:
    length = CODES_PER_BLOCK[0] * num_blocks
    if len(request.semantic) != length:
        raise PromptError(
            f"audio of {len(request.semantic)} semantic codes cannot be denoised to {num_blocks} blocks: "
            f"both are equally long, ask with {length} codes"
        )
