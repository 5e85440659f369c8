"""Labeling behind a shared prompt, by its length and by how many queries are asked at once, in one run.

`python -m benchmarks.labeling` prints tables, the bars and a JSON line. The LLaMA has about 106 million
random parameters, a query has 30 ids, and there are five labels of one or two ids. Packed queries stand
against one full forward of prompt and query per clip, by the same model as transformers has it, and against
batches of such prompts, which need no padding here. Beside the seconds a clip stands the floor, what the
arithmetic that a clip needs costs at the matrix rate that this machine shows in the same run.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

import torch

from benchmarks.machine import Machine, seconds_in_turn
from benchmarks.random_llama import (
    CLOSING,
    LABELS,
    difference_from_alone,
    frozen,
    last_logits,
    packed_operations,
    prompt_operations,
    random_ids,
    random_model,
)
from benchmarks.recorded import verdict
from core.prompts.label_trie import label_trie

PROMPTS, PROMPT, QUERY = (500, 1000, 1500, 2000), 1500, 30
PACKED, PLAIN = (1, 4, 16, 64), (1, 4)
"""Queries asked at once, and whole prompts read at once."""
BUDGET = 60.0
"""Seconds that the figures of a prompt may be measured for."""
BAR, DIFFERENCE_BAR = 35.0, 1e-5


Way = Literal["plain", "packed"]


@dataclass(frozen=True)
class Figure:
    """Seconds a clip: `together` packed queries behind a prompt of so many ids, or plain prompts at once."""

    way: Way
    prompt: int
    together: int
    seconds: float
    floor: float

    def __str__(self) -> str:
        numbers = f"{self.seconds:>11.4f}{self.floor:>11.4f}{self.seconds / self.floor:>7.1f}"
        return f"  {self.prompt:>6} {self.way:<7}{self.together:>5}{numbers}"


class Labeling:
    """The same weights as transformers runs them and as we do."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._generator = torch.Generator().manual_seed(0)
        self.plain_model = random_model(self._generator)
        self.llama = frozen(copy.deepcopy(self.plain_model))
        self.trie = label_trie(LABELS, CLOSING)
        self.queries = [random_ids(QUERY, self._generator) for _ in range(max(PACKED))]
        self.prompts = {length: random_ids(length, self._generator) for length in PROMPTS}

    def figures(self) -> Iterator[Figure]:
        """Yield every prompt and way, those of a prompt in turn; plain batches at one length alone."""
        for length in PROMPTS:
            plain = PLAIN if length == PROMPT else PLAIN[:1]
            ways: list[tuple[Way, int]] = [("plain", n) for n in plain] + [("packed", n) for n in PACKED]
            shared = self.llama.prefill(self.prompts[length])
            calls = [self.plain(length, n) for n in plain]
            calls += [partial(self.llama.score, shared, self.queries[:n], self.trie) for n in PACKED]
            for (way, together), seconds in zip(ways, seconds_in_turn(calls, BUDGET), strict=True):
                yield Figure(way, length, together, seconds / together, self._floor(way, length))

    def plain(self, length: int, batch: int) -> Callable[[], object]:
        """Run one forward over whole prompts, for the logits of the last id."""
        ids = torch.tensor([[*self.prompts[length], *query] for query in self.queries[:batch]])
        return partial(last_logits, self.plain_model, ids)

    def _floor(self, way: Way, length: int) -> float:
        operations = (
            prompt_operations(self.plain_model, length + QUERY)
            if way == "plain"
            else packed_operations(self.plain_model, length, QUERY, self.trie)
        )
        return self.machine.floor(operations, 0.0)

    def difference(self) -> float:
        """Return how far probabilities are from those of prompts that are read alone."""
        prompt = self.prompts[PROMPT]
        nodes = self.llama.score_nodes(self.llama.prefill(prompt), self.queries, self.trie)
        return difference_from_alone(self.llama, prompt, self.queries, nodes, self.trie)


def bars(figures: Sequence[Figure], difference: float) -> Iterator[tuple[str, bool]]:
    """Yield each bar with what was measured, and whether it was reached."""
    seconds = {(f.way, f.prompt, f.together): f.seconds for f in figures}
    packed = seconds["packed", PROMPT, max(PACKED)]
    gain = seconds["plain", PROMPT, 1] / packed
    best = min(seconds["plain", PROMPT, batch] for batch in PLAIN) / packed
    said = f"prompt of {PROMPT}: {gain:.1f} times as fast as one full forward per clip, of {BAR:.0f}"
    yield f"{said} ({best:.1f} times the best plain batch)", gain >= BAR
    yield (
        f"probabilities within {difference:.1e} of prompts read alone, of {DIFFERENCE_BAR}",
        (difference <= DIFFERENCE_BAR),
    )


def main() -> None:
    """Print the table, the bars and the JSON line."""
    machine = Machine.measured()
    print(f"Labeling, 106 M parameters, queries of {QUERY} ids, five labels, float32 on CPU ({machine})")
    labeling = Labeling(machine)
    print(f"  {'prompt':>6} {'way':<7}{'once':>5}{'s a clip':>11}{'floor':>11}{'ratio':>7}", flush=True)
    figures = []
    for figure in labeling.figures():
        print(figure, flush=True)
        figures.append(figure)
    reached = list(bars(figures, labeling.difference()))
    print("\n".join(f"  {said} {verdict(passed)}" for said, passed in reached))
    said = {"benchmark": "labeling", "machine": asdict(machine), "threads": torch.get_num_threads()}
    print(json.dumps({**said, "figures": [asdict(f) for f in figures], "bars": dict(reached)}))


if __name__ == "__main__":
    main()
