"""Labels a second of SmolLM2-135M behind a shared prompt on a CPU: ours, llama.cpp and plain transformers.

`python -m benchmarks.smol DIRECTORY [--gguf FILE]` takes the directory that `wordwave models convert-llm`
made. With llama-cpp-python installed and a GGUF (`--gguf`: the same weights in float32 for equal precision),
llama.cpp answers as well, its prompt's keys and values kept between clips. Both score the same five labels of
one to three ids behind a prompt of 1,500 ids and a query of 30; plain transformers reads prompt and query of
each clip in one full forward, for the logits of the last id alone. All take turns.
Prints clips a second, how far probabilities are apart, and a JSON line.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import Machine, seconds_in_turn
from benchmarks.random_llama import last_logits
from core.llama.files import read_size, read_tokenizer
from core.llama.model import FrozenLlama
from core.llama.shared_prefix import SharedPrefix
from core.prompts.label_trie import LabelTrie, label_trie

# isort: split
from transformers import LlamaForCausalLM

PROMPT, QUERY, BUDGET = 1_500, 30, 60.0
LABELS = ("dog", "dog bark", "vacuum cleaner", "rain", "glass breaking")
CLIPS = (1, 8)
SEQUENCES, CLIPS_OF_LLAMA_CPP = 64, 8
"""Of llama.cpp at once: the prompt, clips, and their labels."""
Scores = Callable[[Sequence[Sequence[int]]], Any]


class Question:
    """A prompt, queries and labels in SmolLM2's own ids."""

    def __init__(self, directory: Path) -> None:
        tokenizer = read_tokenizer(directory, read_size(directory).vocab_size)
        if tokenizer is None:
            raise SystemExit(f"{directory} has no tokenizer: convert the model again")
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randint, 300, len(tokenizer), generator=generator)
        self.prompt: list[int] = [tokenizer.bos_id, *draw((PROMPT - 1,)).tolist()]
        self.queries: list[list[int]] = draw((max(CLIPS), QUERY)).tolist()
        ids = {label: tokenizer.encode(label) for label in LABELS}
        self.trie: LabelTrie = label_trie(ids, tokenizer.encode("###")[0])

    def spelled(self, path: Sequence[int]) -> list[int]:
        """Return the ids of a label's path with its closing one."""
        return [self.trie.token_ids[node] for node in path]


def ours(llama: FrozenLlama, prefix: SharedPrefix, question: Question) -> Scores:
    """Return the scoring of this project: all queries packed behind the prompt."""
    return lambda queries: llama.score(prefix, queries, question.trie)


def plain(model: Any, question: Question, queries: Sequence[Sequence[int]]) -> None:
    """Read prompt and query of each clip in one full forward, for the logits of the last id alone."""
    for query in queries:
        last_logits(model, torch.tensor([[*question.prompt, *query]]))


class LlamaCpp:
    """llama.cpp at its best: the prompt stays in its cache; clips, then labels are sequences of a batch."""

    def __init__(self, file: Path, question: Question) -> None:
        import llama_cpp

        self._api: Any = llama_cpp
        self._question = question
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = 2_304
        settings.n_seq_max, settings.kv_unified = SEQUENCES, True
        settings.n_threads = settings.n_threads_batch = torch.get_num_threads()
        model = llama_cpp.llama_model_load_from_file(
            str(file).encode(), llama_cpp.llama_model_default_params()
        )
        self._context = llama_cpp.llama_init_from_model(model, settings)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(settings.n_batch, 0, SEQUENCES)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._decode([(token_id, at, 0, False) for at, token_id in enumerate(question.prompt)])

    def __call__(self, queries: Sequence[Sequence[int]]) -> Tensor:
        """Return (queries, labels): log probabilities."""
        steps = range(0, len(queries), CLIPS_OF_LLAMA_CPP)
        return torch.cat([self._clips(queries[start : start + CLIPS_OF_LLAMA_CPP]) for start in steps])

    def _clips(self, queries: Sequence[Sequence[int]]) -> Tensor:
        labels = [self._question.spelled(path) for path in self._question.trie.paths]
        tokens = []
        for clip, query in enumerate(queries):
            self._copy(0, 1 + clip)
            tokens += [(one, PROMPT + at, 1 + clip, at == len(query) - 1) for at, one in enumerate(query)]
        roots = self._decode(tokens)
        sequence, tokens = 1 + len(queries), []
        for clip, query in enumerate(queries):
            for label in labels:
                self._copy(1 + clip, sequence)
                places = enumerate(label[:-1], PROMPT + len(query))
                tokens += [(token_id, at, sequence, True) for at, token_id in places]
                sequence += 1
        after = iter(self._decode(tokens))
        rows = []
        for root in roots:
            for label in labels:
                states = [root, *(next(after) for _ in label[:-1])]
                rows.append(sum(float(state[one]) for state, one in zip(states, label, strict=True)))
        for used in range(1, sequence):
            self._api.llama_memory_seq_rm(self._memory, used, -1, -1)
        return torch.tensor(rows).view(len(queries), len(labels))

    def _copy(self, source: int, target: int) -> None:
        self._api.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def _decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> list[Tensor]:
        """Read (id, position, sequence, wanted) at once; return log probabilities after the wanted ones."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for at, (token_id, position, sequence, wanted) in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.logits[at] = token_id, position, wanted
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
        if self._api.llama_decode(self._context, batch):
            raise SystemExit("llama.cpp could not read the batch")
        wanted_places = [at for at, (*_, wanted) in enumerate(tokens) if wanted]
        return [self._log_softmax(at) for at in wanted_places]

    def _log_softmax(self, place: int) -> Tensor:
        logits = self._api.llama_get_logits_ith(self._context, place)
        array = np.ctypeslib.as_array(logits, shape=(self._vocabulary,))
        return torch.from_numpy(array.copy()).log_softmax(-1)


def measured(ways: dict[str, Scores], question: Question) -> dict[str, dict[int, float]]:
    """Return labels a second by way and clips at once; plain transformers reads one clip at a time."""
    calls, names = [], []
    for name, scores in ways.items():
        for clips in CLIPS[:1] if name == "transformers" else CLIPS:
            calls.append(partial(scores, question.queries[:clips]))
            names.append((name, clips))
    seconds = seconds_in_turn(calls, BUDGET)
    found: dict[str, dict[int, float]] = {name: {} for name in ways}
    for (name, clips), spent in zip(names, seconds, strict=True):
        found[name][clips] = clips / spent
    return found


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smol", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gguf", type=Path)
    given = parser.parse_args()
    question, llama = Question(given.directory), FrozenLlama.from_directory(given.directory)
    model = LlamaForCausalLM.from_pretrained(given.directory, dtype=torch.float32).eval()
    ways: dict[str, Scores] = {
        "wordwave": ours(llama, llama.prefill(question.prompt), question),
        "transformers": partial(plain, model, question),
    }
    if given.gguf:
        ways["llama.cpp"] = LlamaCpp(given.gguf, question)
    print(
        f"SmolLM2, prompt {PROMPT} ids, query {QUERY}, {len(LABELS)} labels ({Machine.measured()})",
        flush=True,
    )
    apart = None
    if given.gguf:
        scores = [ways[name](question.queries[:2]) for name in ("wordwave", "llama.cpp")]
        apart = float((scores[0].softmax(dim=1) - scores[1].softmax(dim=1)).abs().max())
    rates = measured(ways, question)
    for name, by_clips in rates.items():
        said = ", ".join(f"{clips} at once {rate:.2f}" for clips, rate in by_clips.items())
        print(f"  {name:<14} clips a second: {said}")
    print(f"  probabilities of wordwave and llama.cpp are apart by {apart}")
    print(json.dumps({"benchmark": "smol", "rates": rates, "apart": apart}))


if __name__ == "__main__":
    main()
