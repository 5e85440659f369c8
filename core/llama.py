"""The frozen language model: reads a shared prefix once, scores labels behind it, says what comes next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

import core.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import DynamicCache, LlamaForCausalLM

from core.constraint import LabelTrie
from core.llama_directory import DType, model_fingerprint, read_model, read_tokenizer
from core.packing import Pack, pack_queries, split_packs
from core.prompt import check_budget
from core.vocabulary import TextTokenizer

PACK_BUDGET = 512
"""Token ids of one row."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedPrefix:
    """A prefix that the model has read: its ids and the keys and values of every layer, kept once.

    Scoring writes behind the prefix and takes it back: one thread at a time.
    """

    token_ids: tuple[int, ...]
    kv_cache: DynamicCache


class FrozenLlama:
    """A LLAMA that is never trained. Inference only, without TF32."""

    def __init__(
        self, model: LlamaForCausalLM, tokenizer: TextTokenizer | None, directory: Path, dtype: DType
    ) -> None:
        self.tokenizer = tokenizer
        self.directory = directory
        self.dtype = dtype
        self.device: torch.device = model.device
        self.vocab_size: int = model.config.vocab_size
        self.context_length: int = model.config.max_position_embeddings
        self._model = model

    @classmethod
    def from_directory(
        cls, path: str | Path, *, device: str | torch.device = "cpu", dtype: DType = "float32"
    ) -> "FrozenLlama":
        """A Hugging Face LLAMA directory. Raises CheckpointMismatch when it is not one or does not fit."""
        torch.backends.cuda.matmul.allow_tf32 = False
        model = read_model(path, dtype).to(device)
        return cls(model, read_tokenizer(path, model.config.vocab_size), Path(path), dtype)

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 over configuration, weights, tokenizer and dtype; reads the whole model once."""
        return model_fingerprint(self.directory, self.dtype)

    @torch.inference_mode()
    def prefill(self, prefix_ids: Sequence[int]) -> SharedPrefix:
        """Read a prefix. Raises PromptTooLong when it alone passes the context."""
        check_budget(len(prefix_ids), self.context_length)
        kv_cache = DynamicCache(config=self._model.config)
        self._model.model(self._row(prefix_ids), past_key_values=kv_cache, use_cache=True)
        return SharedPrefix(tuple(prefix_ids), kv_cache)

    def score(self, prefix: SharedPrefix, queries: Sequence[Sequence[int]], trie: LabelTrie) -> Tensor:
        """(queries, labels) float32: log P of each label and its closing id after prefix and query."""
        return label_scores(self.score_nodes(prefix, queries, trie), trie)

    @torch.inference_mode()
    def score_nodes(
        self,
        prefix: SharedPrefix,
        queries: Sequence[Sequence[int]],
        trie: LabelTrie,
        *,
        pack_budget: int = PACK_BUDGET,
    ) -> Tensor:
        """(queries, nodes) float32 on the CPU: log P of each node's id after prefix, query and its ancestors.

        Raises PromptTooLong, before anything runs, when a query and the longest label pass the context.
        """
        longest = max(map(len, queries), default=0) + max(map(len, trie.paths))
        check_budget(len(prefix.token_ids) + longest, self.context_length)
        packs = split_packs(queries, trie, pack_budget)
        scores = [self._score_pack(prefix, pack, trie) for pack in packs]
        return torch.cat([torch.empty(0, len(trie.token_ids)), *scores])

    def _score_pack(self, prefix: SharedPrefix, queries: Sequence[Sequence[int]], trie: LabelTrie) -> Tensor:
        pack = pack_queries(queries, trie, len(prefix.token_ids)).to(self.device)
        logits = self._logits_behind(prefix, pack)  # (Q, 1 + inner, V)
        parents = torch.tensor(trie.parents, device=self.device) + 1
        token_ids = torch.tensor(trie.token_ids, device=self.device)
        # log-softmax of the wanted ids alone: the whole of it would double the memory
        return (logits[:, parents, token_ids] - logits.logsumexp(dim=-1)[:, parents]).cpu()

    def _logits_behind(self, prefix: SharedPrefix, pack: Pack) -> Tensor:
        """(queries, 1 + inner, vocab_size) float32: the logits where the trie of each query stands."""
        try:
            logits = self._model(
                pack.token_ids,
                attention_mask=pack.mask,
                position_ids=pack.position_ids,
                past_key_values=prefix.kv_cache,
                use_cache=True,
                logits_to_keep=pack.states.flatten(),
            ).logits
        finally:
            _crop(prefix.kv_cache, len(prefix.token_ids))
        wanted: Tensor = logits.float().view(*pack.states.shape, -1)
        return wanted

    @torch.inference_mode()
    def generate(
        self,
        prompt_ids: Sequence[int],
        *,
        max_new_tokens: int,
        allowed: Callable[[Sequence[int]], Sequence[int]] | None = None,
    ) -> list[int]:
        """The new ids of greedy decoding.

        `allowed` is given the ids said so far and returns those that may come next; where it returns none,
        decoding ends. Without it every id may come, and the end id ends nothing: in an acoustic layer it is
        a code like any other (PAPER.md 3.6). Raises PromptTooLong, before anything runs, when prompt and new
        ids pass the context.
        """
        check_budget(len(prompt_ids) + max_new_tokens, self.context_length)
        kv_cache = DynamicCache(config=self._model.config)
        unread = list(prompt_ids)
        said: list[int] = []
        while len(said) < max_new_tokens:
            choices = sorted(allowed(said)) if allowed else None
            if choices == []:
                break
            said.append(self._next_id(unread, kv_cache, choices))
            unread = said[-1:]
        return said

    def _next_id(self, unread: Sequence[int], kv_cache: DynamicCache, choices: list[int] | None) -> int:
        row = self._row(unread)
        output = self._model(row, past_key_values=kv_cache, use_cache=True, logits_to_keep=1)
        logits = output.logits[0, -1].float()
        if choices is None:
            return int(logits.argmax())
        return choices[int(logits[choices].argmax())]

    def _row(self, token_ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(token_ids)], device=self.device)


def label_scores(nodes: Tensor, trie: LabelTrie) -> Tensor:
    """(queries, labels): log P of each label, the sum over its nodes; nodes (queries, nodes)."""
    return torch.stack([nodes[:, list(path)].sum(dim=1) for path in trie.paths], dim=1)


def _crop(kv_cache: DynamicCache, length: int) -> None:
    """Take back what was written behind the prefix, also where a pass failed half-way through the layers."""
    for layer in kv_cache.layers:
        excess = layer.get_seq_length() - length
        if excess > 0:
            layer.crop(-excess)  # transformers 5.23 takes how much to remove, as a negative number only
