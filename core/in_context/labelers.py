"""Labelers: few-shot prompting of a frozen language model, or the nearest demonstration."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Protocol

import numpy as np
import torch

from core.in_context.baselines import Baselines, FloatArray, Guess
from core.in_context.prompt_hashes import nearest_neighbor_hash
from core.llama.model import FrozenLlama, label_scores
from core.llama.shared_prefix import SharedPrefix
from core.prompts.demonstrations import LabeledClip, check_demonstrated, label_set
from core.prompts.few_shot import FewShotPrompt, FewShotSettings
from core.prompts.model_slots import read_model_prompt
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Prediction:
    """A labeler's answer for a clip.

    probabilities: by label in alphabetical order, with sum 1. margin: the label's probability minus the
    highest other one. baselines: the guesses of chance, majority, nearest and, if pooled latents are known,
    nearest_latent. In paper mode the label is the result of greedy decoding; if that is not the most probable
    one, the margin is negative.
    """

    label: str
    probabilities: dict[str, float]
    margin: float
    baselines: dict[str, Guess]


class Labeler(Protocol):
    """Labels clips by demonstrations that were given once."""

    @property
    def prompt_hash(self) -> str:
        """Hex sha256 of everything that decides an answer except the model and the clip."""

    def label(self, queries: Sequence[ClipCodes]) -> list[Prediction]:
        """Return a prediction for each query, in order."""


class NearestNeighborLabeler:
    """Labels a clip like the demonstration with the most similar codes."""

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
        self.labels = label_set(labels)
        check_demonstrated(self.labels, demonstrations)
        self._baselines = Baselines(self.labels, demonstrations)
        self.prompt_hash = nearest_neighbor_hash(demonstrations)

    def label(self, queries: Sequence[ClipCodes]) -> list[Prediction]:
        """Return a prediction for each query, in order; of equally near labels the first."""
        nearest = self._baselines.nearest.probabilities(queries)
        answers = [int(row.argmax()) for row in nearest]
        return _predictions(self.labels, nearest, answers, self._baselines.guesses(queries, nearest))


class FewShotLabeler:
    """Labels clips with a frozen language model by few-shot prompting.

    The log probabilities of a clip are averaged over its windows and over the orders of the prompt. The
    prefixes are read at the first query. Raises PromptTooLong when the longest query does not fit the
    context.
    """

    def __init__(
        self,
        llama: FrozenLlama,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        demonstrations: Sequence[LabeledClip],
        settings: FewShotSettings,
    ) -> None:
        llama.check_tokenizer(vocabulary.tokenizer)
        model = read_model_prompt(llama.directory)
        self.prompt = FewShotPrompt(vocabulary, labels, demonstrations, settings, model)
        self.prompt.check_budget(llama.context_length)
        self._llama = llama
        self._reading = Lock()
        self._baselines = Baselines(self.prompt.labels, demonstrations)

    @property
    def prompt_hash(self) -> str:
        """Hex sha256 of the prefix, the windows and the template."""
        return self.prompt.prompt_hash

    def prompt_for(self, _query: ClipCodes) -> FewShotPrompt:
        """Return the prompt of a query, the same for all."""
        return self.prompt

    @property
    def longest_prompt(self) -> int:
        """Upper bound of the token ids of prefix, query and label together."""
        return self.prompt.longest

    def label(self, queries: Sequence[ClipCodes]) -> list[Prediction]:
        """Return a prediction for each query, in order."""
        if not queries:
            return []
        nodes = self._score(queries)
        log_probabilities = label_scores(nodes, self.prompt.trie)
        probabilities = log_probabilities.double().softmax(dim=1).numpy()
        guesses = self._baselines.guesses(queries, self._baselines.nearest.probabilities(queries))
        return _predictions(self.prompt.labels, probabilities, self._answers(nodes, probabilities), guesses)

    @cached_property
    def _prefixes(self) -> list[SharedPrefix]:
        return [self._llama.prefill(order.prefix_ids) for order in self.prompt.orders]

    def _score(self, queries: Sequence[ClipCodes]) -> torch.Tensor:
        """Return (queries, nodes): log probabilities, averaged over orders and a clip's windows."""
        windows = [self.prompt.query_ids(clip) for clip in queries]
        rows = [token_ids for clip in windows for token_ids in clip]
        with self._reading:
            prefixes = self._prefixes
        pairs = zip(prefixes, self.prompt.orders, strict=True)
        scores = [self._llama.score_nodes(prefix, rows, order.trie) for prefix, order in pairs]
        nodes = torch.stack(scores).mean(dim=0)
        parts = torch.split_with_sizes(nodes, [len(clip) for clip in windows])
        return torch.stack([part.mean(dim=0) for part in parts])

    def _answers(self, nodes: torch.Tensor, probabilities: FloatArray) -> list[int]:
        if self.prompt.settings.mode == "paper":
            return [self.prompt.trie.greedy(row) for row in nodes.tolist()]
        return [int(row.argmax()) for row in probabilities]


def _predictions(
    labels: Sequence[str],
    probabilities: FloatArray,
    answers: Sequence[int],
    baselines: Sequence[dict[str, Guess]],
) -> list[Prediction]:
    return [
        Prediction(
            label=labels[answer],
            probabilities=dict(zip(labels, row.tolist(), strict=True)),
            margin=float(row[answer] - np.delete(row, answer).max()),
            baselines=guesses,
        )
        for row, answer, guesses in zip(probabilities, answers, baselines, strict=True)
    ]
