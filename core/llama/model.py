"""The frozen language model: reads a shared prefix once, then scores labels or generates answers after it."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from core.errors import CheckpointMismatch
from core.llama.cpu.last_layer import LastLayer
from core.llama.cpu.split_attention import SPLIT
from core.llama.files import DType, model_fingerprint, read_tokenizer
from core.llama.huggingface import DynamicCache, LlamaForCausalLM
from core.llama.packing import GrowingRow, Pack, pack_queries, split_packs
from core.llama.shared_prefix import SharedPrefix
from core.llama.weights import read_model
from core.matmul import product
from core.prompts.label_trie import LabelTrie
from core.prompts.template import check_budget
from core.tokens.vocabulary import TextTokenizer

PACK_BUDGET, GPU_PACK_BUDGET = 1024, 2048
"""Token ids of one packed row.

On a CPU the activations of longer rows exceed its caches; a GPU needs rows that fill it.
"""

ANSWER_BUDGET = 2048
"""Token ids of one row that grows by its answers. It is longer: every step reads all weights once."""

Choose = Callable[[Tensor], int]
"""Picks the next id from the logits (n,) float32 of the allowed ids, ascending by id."""


class TokenConstraint(Protocol):
    """The ids that may follow in an answer, which is built id by id."""

    @property
    def longest(self) -> int:
        """Upper bound of the length of the whole answer in ids."""

    @property
    def allowed(self) -> Tensor:
        """Ids that may come next, (n,) int64 on the CPU, ascending; none once the answer is complete."""

    def accept(self, token_id: int) -> None:
        """Append the next id."""


class FrozenLlama:
    """A LLaMA that is never trained. Inference only, without TF32."""

    def __init__(
        self, model: LlamaForCausalLM, tokenizer: TextTokenizer | None, directory: Path, dtype: DType
    ) -> None:
        self.tokenizer = tokenizer
        self.directory = directory
        self.dtype = dtype
        self.device: torch.device = model.device
        self.vocab_size: int = model.config.vocab_size
        self.context_length: int = model.config.max_position_embeddings
        self._pack_budget = PACK_BUDGET if self.device.type == "cpu" else GPU_PACK_BUDGET
        self._splits = self.device.type == "cpu"
        if self._splits:
            model.set_attn_implementation(SPLIT)
        model.model.layers[-1] = LastLayer(model.model.layers[-1])
        self._model = model
        for module in model.modules():
            if isinstance(module, nn.Linear):
                forward = partial(product, weight=module.weight, bias=module.bias)
                module.forward = forward  # type: ignore[method-assign]

    @classmethod
    def from_directory(
        cls, path: str | Path, *, device: str | torch.device = "cpu", dtype: DType = "float32"
    ) -> "FrozenLlama":
        """Load a Hugging Face LLaMA directory. Raises CheckpointMismatch if it is not one or does not fit."""
        torch.backends.cuda.matmul.allow_tf32 = False
        model = read_model(path, dtype).to(device)
        return cls(model, read_tokenizer(path, model.config.vocab_size), Path(path), dtype)

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of configuration, weights, tokenizer and dtype; reads the whole model once."""
        return model_fingerprint(self.directory, self.dtype)

    def check_tokenizer(self, tokenizer: TextTokenizer) -> None:
        """Raise CheckpointMismatch for a tokenizer with more ids than the model."""
        if len(tokenizer) > self.vocab_size:
            raise CheckpointMismatch(
                f"the tokenizer has {len(tokenizer)} pieces, the language model {self.vocab_size} ids: "
                "they do not belong together"
            )

    @torch.inference_mode()
    def prefill(self, prefix_ids: Sequence[int]) -> SharedPrefix:
        """Read a prefix. Raises PromptTooLong if it alone exceeds the context."""
        check_budget(len(prefix_ids), self.context_length)
        kv_cache = DynamicCache(config=self._model.config)
        self._model.model(self._row(prefix_ids), past_key_values=kv_cache, use_cache=True)
        return SharedPrefix(tuple(prefix_ids), kv_cache)

    def score(self, prefix: SharedPrefix, queries: Sequence[Sequence[int]], trie: LabelTrie) -> Tensor:
        """Return (queries, labels) float32: log P of each label and its closing id after prefix and query."""
        return label_scores(self.score_nodes(prefix, queries, trie), trie)

    @torch.inference_mode()
    def score_nodes(
        self,
        prefix: SharedPrefix,
        queries: Sequence[Sequence[int]],
        trie: LabelTrie,
        *,
        pack_budget: int | None = None,
    ) -> Tensor:
        """Return (queries, nodes) float32 on the CPU: log P of each node's id after all before it.

        Before it come the prefix, the query and the node's ancestors. Raises PromptTooLong, before anything
        runs, if a query with the longest label exceeds the context.
        """
        longest = max(map(len, queries), default=0) + max(map(len, trie.paths))
        check_budget(len(prefix.token_ids) + longest, self.context_length)
        lengths = [len(query) + trie.num_inner for query in queries]
        packs = list(split_packs(lengths, pack_budget or self._pack_budget))
        longest_pack = max((sum(lengths[pack]) for pack in packs), default=0)
        kv_cache = None if self._splits else prefix.copy_with_room(longest_pack)
        scores = [self._score_pack(prefix, kv_cache, queries[pack], trie) for pack in packs]
        return torch.cat([torch.empty(0, len(trie.token_ids)), *scores])

    def _score_pack(
        self,
        prefix: SharedPrefix,
        kv_cache: DynamicCache | None,
        queries: Sequence[Sequence[int]],
        trie: LabelTrie,
    ) -> Tensor:
        pack = pack_queries(queries, trie, len(prefix.token_ids)).to(self.device)
        logits = self._logits(pack, prefix, kv_cache)  # (Q, 1 + inner, V)
        if kv_cache is not None:
            prefix.rewind(kv_cache)
        parents = torch.tensor(trie.parents, device=self.device) + 1
        token_ids = torch.tensor(trie.token_ids, device=self.device)
        # log-softmax of the wanted ids alone: the whole of it would double the memory
        return (logits[:, parents, token_ids] - logits.logsumexp(dim=-1)[:, parents]).cpu()

    @torch.inference_mode()
    def generate(
        self,
        prefix: SharedPrefix,
        queries: Sequence[Sequence[int]],
        answers: Sequence[TokenConstraint],
        choose: Sequence[Choose],
        *,
        pack_budget: int = ANSWER_BUDGET,
    ) -> None:
        """Generate the answer to each query after the prefix; `choose` picks one of the allowed ids.

        Only the constraint ends an answer: in audio the end id is a code like any other. Raises
        PromptTooLong, before anything runs, if a query with its longest answer exceeds the context.
        """
        pairs = zip(queries, answers, strict=True)
        lengths = [len(query) + answer.longest for query, answer in pairs]
        check_budget(len(prefix.token_ids) + max(lengths, default=0), self.context_length)
        for pack in split_packs(lengths, pack_budget):
            room = sum(lengths[pack])
            self._generate_pack(prefix, room, queries[pack], answers[pack], choose[pack])

    def _generate_pack(
        self,
        prefix: SharedPrefix,
        room: int,
        queries: Sequence[Sequence[int]],
        answers: Sequence[TokenConstraint],
        choose: Sequence[Choose],
    ) -> None:
        row = GrowingRow(queries, len(prefix.token_ids))
        kv_cache = prefix.cache_with_room(room) if self._splits else prefix.copy_with_room(room)
        pack, unfinished = row.queries, list(range(len(queries)))
        while unfinished:
            logits = self._logits(pack.to(self.device), prefix, kv_cache)[:, 0].cpu()
            pairs = zip(unfinished, logits, strict=True)
            next_ids = {at: _choose_next(answers[at], choose[at], states) for at, states in pairs}
            unfinished = [at for at in unfinished if len(answers[at].allowed)]
            if unfinished:
                pack = row.step({at: next_ids[at] for at in unfinished})

    def _logits(self, pack: Pack, prefix: SharedPrefix, kv_cache: DynamicCache | None) -> Tensor:
        """Return (queries, states, vocab_size) float32: the logits at the states of each query of the pack.

        The cache, if there is one, keeps the ids for the next pack. On a CPU it has only the ids after the
        prefix.
        """
        mask, blocks, states = pack.mask, None, pack.states.flatten()
        if self._splits:
            mask, blocks = mask[..., len(prefix.token_ids) :], pack.blocks
        logits = self._model(
            pack.token_ids,
            attention_mask=self._added(blocks.mask if blocks else mask),
            prefix=prefix.kv_cache if self._splits else None,
            blocks=blocks,
            states=states,
            states_mask=self._added(mask[:, :, states]),
            position_ids=pack.position_ids,
            past_key_values=kv_cache,
            use_cache=kv_cache is not None,
        ).logits
        wanted: Tensor = logits.float().view(*pack.states.shape, -1)
        return wanted

    def _added(self, mask: Tensor) -> Tensor:
        """Return a mask as numbers to add; a bool mask would be converted in every layer."""
        added = torch.zeros(mask.shape, dtype=self._model.dtype, device=self.device)
        return added.masked_fill_(~mask, -torch.inf)

    def _row(self, token_ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(token_ids)], device=self.device)


def label_scores(nodes: Tensor, trie: LabelTrie) -> Tensor:
    """Return (queries, labels): log P of each label, the sum over its nodes; nodes (queries, nodes)."""
    return torch.stack([nodes[:, list(path)].sum(dim=1) for path in trie.paths], dim=1)


def _choose_next(answer: TokenConstraint, choose: Choose, logits: Tensor) -> int:
    """Append the next id to an answer, given the logits (vocab_size,) of all ids, and return it."""
    allowed = answer.allowed
    token_id = int(allowed[choose(logits[allowed])])
    answer.accept(token_id)
    return token_id
