import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.errors import PromptTooLong
from core.llama.model import FrozenLlama
from core.prompts.label_trie import LabelTrie, label_trie
from tests.core.label_answer import LabelAnswer

# isort: split
from transformers import LlamaForCausalLM

CLOSING = 2
PREFIX = [1, *range(40, 110)]

queries_of_ids = st.lists(st.lists(st.integers(3, 419), min_size=1, max_size=20), min_size=1, max_size=6)
label_sets = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=4).map(tuple), min_size=1, max_size=8, unique=True
).map(lambda sets: {f"label {at}": list(ids) for at, ids in enumerate(sets)})


@pytest.fixture(scope="module")
def plain(llama_path: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(llama_path).eval()


@torch.inference_mode()
def plain_scores(
    model: LlamaForCausalLM, prefix: list[int], queries: list[list[int]], trie: LabelTrie
) -> torch.Tensor:
    """Score with one full forward pass for each query and label, as defined."""
    scores = torch.empty(len(queries), len(trie.labels))
    for row, query in enumerate(queries):
        for column, path in enumerate(trie.paths):
            spelled = [trie.token_ids[node] for node in path]
            ids = torch.tensor([[*prefix, *query, *spelled]], device=model.device)
            log_p = model(ids).logits[0].log_softmax(dim=-1)
            ends = range(ids.shape[1] - len(spelled) - 1, ids.shape[1] - 1)
            scores[row, column] = sum(log_p[at, ids[0, at + 1]] for at in ends)
    return scores


@settings(max_examples=30)
@given(queries=queries_of_ids, label_ids=label_sets)
def test_packed_scores_are_those_of_plain_full_prompts(
    llama: FrozenLlama, plain: LlamaForCausalLM, queries: list[list[int]], label_ids: dict[str, list[int]]
) -> None:
    trie = label_trie(label_ids, CLOSING)
    scores = llama.score(llama.prefill(PREFIX), queries, trie)
    expected = plain_scores(plain, PREFIX, queries, trie)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.softmax(dim=1), expected.softmax(dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-4)


@settings(max_examples=20)
@given(queries=queries_of_ids, label_ids=label_sets, budget=st.integers(1, 120))
def test_scores_do_not_depend_on_how_queries_are_packed(
    llama: FrozenLlama, queries: list[list[int]], label_ids: dict[str, list[int]], budget: int
) -> None:
    trie = label_trie(label_ids, CLOSING)
    prefix = llama.prefill(PREFIX)
    alone = torch.cat([llama.score_nodes(prefix, [query], trie) for query in queries])
    packed = llama.score_nodes(prefix, queries, trie, pack_budget=budget)
    torch.testing.assert_close(packed.exp(), alone.exp(), rtol=0, atol=1e-5)


@pytest.fixture
def masked(llama_path: Path) -> FrozenLlama:
    """Return the same model with masked attention in one part, as on other devices than a CPU."""
    llama = FrozenLlama.from_directory(llama_path)
    llama._splits = False
    llama._model.set_attn_implementation("sdpa")
    return llama


def test_one_attention_with_a_mask_gives_the_same_scores(llama: FrozenLlama, masked: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5]}, CLOSING)
    queries = [[9, 10, 11], [12], [13, 14]]
    scores = masked.score(masked.prefill(PREFIX), queries, trie)
    torch.testing.assert_close(scores, llama.score(llama.prefill(PREFIX), queries, trie), rtol=0, atol=1e-4)


def test_one_attention_with_a_mask_says_the_same_answers(llama: FrozenLlama, masked: FrozenLlama) -> None:
    queries, lengths = [[9, 10, 11], [12], [13, 14]], [4, 1, 6]
    assert answers_to(masked, queries, lengths) == answers_to(llama, queries, lengths)


def test_a_prefix_is_as_it_was_after_scoring(llama: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "dog bark": [7, 8]}, CLOSING)
    prefix = llama.prefill(PREFIX)
    keys = prefix.kv_cache.layers[0].keys.clone()
    first = llama.score(prefix, [[9, 10], [11]], trie)
    assert torch.equal(prefix.kv_cache.layers[0].keys, keys)
    assert torch.equal(llama.score(prefix, [[9, 10], [11]], trie), first)


def test_a_prefix_is_as_it_was_after_a_pass_that_failed(llama: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "cat": [8]}, CLOSING)
    prefix = llama.prefill(PREFIX)
    expected = llama.score(prefix, [[9, 10]], trie)
    last_layer = llama._model.model.layers[-1]
    hook = last_layer.register_forward_hook(lambda *_: (_ for _ in ()).throw(MemoryError("full")))
    with pytest.raises(MemoryError):
        llama.score(prefix, [[9, 10]], trie)
    hook.remove()
    assert torch.equal(llama.score(prefix, [[9, 10]], trie), expected)


def test_threads_that_share_a_prefix_score_and_answer_as_one_alone(llama: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "dog bark": [7, 8]}, CLOSING)
    prefix, rows = llama.prefill(PREFIX), [[[9 + at, 10], [11]] for at in range(12)]

    def ask(queries: list[list[int]]) -> tuple[torch.Tensor, list[list[int]]]:
        said = [Anything(5), Anything(3)]
        llama.generate(prefix, queries, said, [greedy, greedy])
        return llama.score(prefix, queries, trie), [answer.said for answer in said]

    alone = [ask(queries) for queries in rows]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(ask, rows))
    assert [said for _, said in together] == [said for _, said in alone]
    assert all(torch.equal(ours[0], theirs[0]) for ours, theirs in zip(together, alone, strict=True))


def test_no_query_gives_no_score(llama: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "cat": [8]}, CLOSING)
    assert llama.score(llama.prefill(PREFIX), [], trie).shape == (0, 2)


def test_too_long_a_query_is_refused_before_anything_runs(llama: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "cat bird": [8, 9]}, CLOSING)
    prefix = llama.prefill([5] * 500)
    assert llama.score(prefix, [[5] * 9], trie).shape == (1, 2)
    with pytest.raises(PromptTooLong) as error:
        llama.score(prefix, [[5], [5] * 10], trie)
    assert (error.value.needed, error.value.limit) == (513, 512)
    with pytest.raises(PromptTooLong):
        llama.prefill([5] * 513)


def test_half_precision_stays_near_full_precision(llama_path: Path, llama: FrozenLlama) -> None:
    trie = label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5]}, CLOSING)
    half = FrozenLlama.from_directory(llama_path, dtype="bfloat16")
    queries = [[9, 10], [11, 12, 13]]
    scores = half.score(half.prefill(PREFIX), queries, trie)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, llama.score(llama.prefill(PREFIX), queries, trie), rtol=0.2, atol=0.2)
    assert half.fingerprint != llama.fingerprint


def test_the_model_is_frozen_and_knows_its_sizes(llama: FrozenLlama) -> None:
    assert not any(parameter.requires_grad for parameter in llama._model.parameters())
    assert not llama._model.training
    assert (llama.vocab_size, llama.context_length) == (420, 512)
    assert llama.tokenizer is not None
    assert len(llama.tokenizer) == 420


class Anything:
    """An answer of a fixed length in which every id may come."""

    def __init__(self, length: int, vocab_size: int = 420) -> None:
        self.longest = length
        self.said: list[int] = []
        self._ids = torch.arange(vocab_size)

    @property
    def allowed(self) -> torch.Tensor:
        return self._ids[: 0 if len(self.said) == self.longest else None]

    def accept(self, token_id: int) -> None:
        self.said.append(token_id)


def greedy(logits: torch.Tensor) -> int:
    return int(logits.argmax())


def answers_to(
    llama: FrozenLlama, queries: list[list[int]], lengths: Sequence[int], budget: int = 512
) -> list[list[int]]:
    said = [Anything(length) for length in lengths]
    llama.generate(llama.prefill(PREFIX), queries, said, [greedy] * len(queries), pack_budget=budget)
    return [answer.said for answer in said]


@torch.inference_mode()
def plain_greedy(model: LlamaForCausalLM, query: list[int], length: int) -> list[int]:
    """Decode with one full forward pass for each id. Near-ties, which rounding decides, are not tried."""
    ids = [*PREFIX, *query]
    for _ in range(length):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        assume(best.values[0] - best.values[1] > 1e-3)
        ids.append(int(best.indices[0]))
    return ids[len(PREFIX) + len(query) :]


@settings(max_examples=20)
@given(queries=queries_of_ids, budget=st.integers(1, 120), data=st.data())
def test_answers_in_one_row_are_those_of_plain_full_prompts(
    llama: FrozenLlama, plain: LlamaForCausalLM, queries: list[list[int]], budget: int, data: st.DataObject
) -> None:
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=len(queries), max_size=len(queries)))
    expected = [plain_greedy(plain, *asked) for asked in zip(queries, lengths, strict=True)]
    assert answers_to(llama, queries, lengths, budget) == expected


@settings(max_examples=15)
@given(queries=queries_of_ids, label_ids=label_sets)
def test_what_is_said_under_the_trie_is_the_label_that_greedy_scoring_finds(
    llama: FrozenLlama, queries: list[list[int]], label_ids: dict[str, list[int]]
) -> None:
    trie = label_trie(label_ids, CLOSING)
    prefix = llama.prefill(PREFIX)
    said = [LabelAnswer(trie) for _ in queries]
    llama.generate(prefix, queries, said, [greedy] * len(queries))
    best = [trie.labels[trie.greedy(row)] for row in llama.score_nodes(prefix, queries, trie).tolist()]
    assert [answer.said for answer in said] == [[*label_ids[label], CLOSING] for label in best]


def test_the_choice_is_between_the_logits_of_what_may_come_next(llama: FrozenLlama) -> None:
    seen: list[torch.Tensor] = []

    def first(logits: torch.Tensor) -> int:
        seen.append(logits)
        return 0

    trie = label_trie({"dog": [9], "cat": [7], "rain": [8]}, CLOSING)
    said, prefix = LabelAnswer(trie), llama.prefill(PREFIX)
    llama.generate(prefix, [[5]], [said], [first])
    assert said.said == [7, CLOSING]
    nodes = dict(zip(trie.token_ids, llama.score_nodes(prefix, [[5]], trie)[0].tolist(), strict=False))
    expected = torch.tensor([nodes[token_id] for token_id in (7, 8, 9)])
    torch.testing.assert_close(seen[0].log_softmax(dim=0), expected.log_softmax(dim=0))
    assert seen[1].shape == (1,)


def test_a_prefix_is_as_it_was_after_answers(llama: FrozenLlama) -> None:
    prefix = llama.prefill(PREFIX)
    keys = prefix.kv_cache.layers[0].keys.clone()
    for _ in range(2):
        said = [Anything(5), Anything(3)]
        llama.generate(prefix, [[9, 10], [11]], said, [greedy, greedy])
        assert torch.equal(prefix.kv_cache.layers[0].keys, keys)
        assert [answer.said for answer in said] == answers_to(llama, [[9, 10], [11]], [5, 3])


def test_a_prefix_is_as_it_was_after_an_answer_that_failed_half_way(llama: FrozenLlama) -> None:
    prefix, said = llama.prefill(PREFIX), Anything(9)

    def fail(logits: torch.Tensor) -> int:
        if len(said.said) == 4:
            raise MemoryError("full")
        return greedy(logits)

    with pytest.raises(MemoryError):
        llama.generate(prefix, [[9, 10]], [said], [fail])
    assert {layer.get_seq_length() for layer in prefix.kv_cache.layers} == {len(PREFIX)}


def test_an_answer_that_does_not_fit_is_refused_before_anything_runs(llama: FrozenLlama) -> None:
    prefix = llama.prefill([5] * 500)
    fits, too_long = Anything(10), Anything(11)
    with pytest.raises(PromptTooLong) as error:
        llama.generate(prefix, [[5], [5, 6]], [fits, too_long], [greedy, greedy])
    assert (error.value.needed, error.value.limit) == (513, 512)
    assert fits.said == []
    llama.generate(prefix, [[5], [5, 6]], [fits, Anything(10)], [greedy, greedy])
    assert len(fits.said) == 10


def test_no_query_gives_no_answer(llama: FrozenLlama) -> None:
    assert answers_to(llama, [], []) == []


@pytest.mark.data
def test_a_trained_model_tells_its_recorded_story(test_data: Path) -> None:
    recorded: dict[str, Any] = json.loads((test_data / "lm" / "golden_greedy.json").read_text())
    stories = FrozenLlama.from_directory(test_data / "lm" / "hf_stories260K")
    assert stories.tokenizer is None
    first, *others = recorded["ids"]
    said = Anything(len(others), stories.vocab_size)
    stories.generate(stories.prefill([recorded["bos"]]), [[first]], [said], [greedy])
    assert said.said == others
