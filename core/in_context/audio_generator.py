"""Speech, sounds and denoised audio: a frozen language model continues a prompt of examples with codes.

Only codes can enter the answer. LLMCodec.decode turns them into audio like any other codes.
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
    """Choice of the next id among those allowed.

    temperature 0 takes the most probable one. Above 0 one is drawn, with logits divided by the temperature,
    from the most probable ids that together have the probability `top_p`.
    """

    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ValueError(f"temperature {self.temperature} must be 0 (the most probable id) or at most 10")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must be over 0 and at most 1")

    def choose(self, seed: int) -> Choose:
        """Return the choice function of one answer.

        Its noise is its own, so that no other answer changes it.
        """
        if self.temperature == 0:
            return _most_probable
        noise = torch.Generator().manual_seed(seed)
        return lambda logits: _draw(logits, self, noise)


@dataclass(frozen=True, eq=False, slots=True)
class AudioQuery:
    """A request for audio: a text, or the audio to denoise.

    num_blocks: length of the answer in blocks of 0.24 s. seed: of the answer's noise, if it is drawn.
    """

    request: str | WindowCodes
    num_blocks: int
    seed: int = 0


class AudioGenerator:
    """Generates audio with a frozen language model from the examples of a task.

    The examples appear once, and `repeats` times more. The prefix is read at the first query. Raises
    PromptError for examples that do not fit the task, PromptTooLong when they alone exceed the context.
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
        """Hex sha256 of the prefix, the template and the task, without the query."""
        return generation_hash(self.prefix_ids, self.task)

    def check(self, query: AudioQuery) -> None:
        """Raise PromptError for an invalid query, PromptTooLong for one that does not fit the context."""
        _check_request(self.task, query.request)
        longest = self._grammar.begin(query.num_blocks).longest
        if not isinstance(query.request, str):
            _check_length(query.request, query.num_blocks)
        self._check_budget(len(self.prefix_ids) + len(self._template.query_ids(query.request)) + longest)

    def generate(self, queries: Sequence[AudioQuery]) -> list[AudioCodes]:
        """Return the codes of each answer, in order. Raises as `check` does, before anything runs."""
        for query in queries:
            self.check(query)
        if not queries:
            return []
        answers = [self._grammar.begin(query.num_blocks) for query in queries]
        query_ids = [self._template.query_ids(query.request) for query in queries]
        choose = [self.decoding.choose(query.seed) for query in queries]
        with self._reading:
            prefix = self._prefix
        self._llama.generate(prefix, query_ids, answers, choose)
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
    """Return the codes of a clip without its noise, as long as the clip.

    With slice_blocks None the whole clip is one query, which raises PromptTooLong if it does not fit.
    Otherwise each slice of `slice_blocks` blocks is a query of its own (the last one may be shorter), and
    slice n draws its noise from seed + n. The codes are joined before decoding, so there are no seams.
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
    """Return the index of the largest logit, the smallest of equal ones."""
    return int(logits.argmax())


def _draw(logits: Tensor, decoding: Decoding, noise: torch.Generator) -> int:
    """Draw one of (n,) logits at random.

    The largest logit with Gumbel noise is a draw from their softmax. Unlike a walk along the cumulated
    probabilities, it depends on two logits only, so rounding errors of the others cannot change it.
    """
    scaled = (logits.double() - logits.max()) / decoding.temperature
    gumbel = -torch.empty_like(scaled).exponential_(generator=noise).log()
    return int((scaled + gumbel).masked_fill(~_in_top_p(scaled, decoding.top_p), -torch.inf).argmax())


def _in_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Return (n,) bool: the fewest most probable ids that together have `top_p`; of equal ones the first."""
    if top_p == 1:
        return torch.ones_like(logits, dtype=torch.bool)
    order = logits.argsort(descending=True, stable=True)  # logits that differ may have equal probabilities
    probabilities = logits.softmax(dim=0)[order]
    before = probabilities.cumsum(dim=0) - probabilities
    return torch.empty_like(before, dtype=torch.bool).scatter(0, order, before < top_p)


def _check_examples(task: GenerationTask, examples: Sequence[Example], repeats: int) -> None:
    if not examples:
        raise PromptError("no examples: give the language model at least one")
    if repeats < 0:
        raise ValueError(f"repeats {repeats} must be at least 0")
    for example in examples:
        _check_request(task, example.request)


def _check_request(task: GenerationTask, request: str | WindowCodes) -> None:
    if isinstance(request, str) == (task == "denoise"):
        given, wanted = ("a text", "audio") if task == "denoise" else ("audio", "a text")
        raise PromptError(f"the task {task!r} got {given}: it needs {wanted}")


def _check_length(request: WindowCodes, num_blocks: int) -> None:
    length = CODES_PER_BLOCK[0] * num_blocks
    if len(request.semantic) != length:
        raise PromptError(
            f"audio of {len(request.semantic)} semantic codes cannot be denoised to {num_blocks} blocks: "
            f"both have equal length, give {length} codes"
        )
