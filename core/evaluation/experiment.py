"""Methods that all answer the same episodes, for each column of a table."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import PromptTooLong
from core.evaluation.episodes import Episode, LabeledClips, draw_episodes, shuffle_labels
from core.evaluation.layouts import Column
from core.evaluation.measure import Score, score
from core.evaluation.methods import FewShotMethod, Method, Reply, baselines, installed
from core.llama.model import FrozenLlama
from core.prompts.few_shot import FewShotSettings
from core.tokens.vocabulary import Vocabulary

EPISODES_PER_PART = 50
"""Episodes answered between two progress updates."""

NEAREST = "nearest tokens"
SHUFFLED = "shuffled labels"

MethodFactory = Callable[[Column], Method]
"""Builds the method for a column."""


def few_shot(llama: FrozenLlama, vocabulary: Vocabulary, settings: FewShotSettings) -> MethodFactory:
    """Return the factory of a frozen LLaMA with a column's instruction and repeats."""
    return lambda column: FewShotMethod(
        llama, vocabulary, replace(settings, instruction=column.instruction, repeats=column.repeats)
    )


@dataclass(frozen=True, slots=True)
class Job:
    """The answers of a table row to the episodes of a column."""

    row: str
    column: Column
    shuffled: bool = False
    """Whether the demonstrations' labels are shuffled, which leaves a method at chance."""


class Experiment:
    """Clips, columns and methods; run part by part, so that a caller can schedule, repeat and watch it.

    models: by row of the table. Baselines are added; they use neither instruction nor repeats, so columns of
    equal labels and shots share their answers. Raises ValueError when no episode can be drawn.
    """

    def __init__(
        self,
        clips: LabeledClips,
        columns: Sequence[Column],
        models: Mapping[str, MethodFactory],
        *,
        count: int,
        seed: int,
    ) -> None:
        self.clips, self.columns, self.count = clips, tuple(columns), count
        self._models = dict(models)
        # a baseline is the same for every column
        free, with_models = baselines(clips), installed(clips)
        self.baselines, self.installed = tuple(free), tuple(with_models)
        self._methods = self._models | {name: always(one) for name, one in {**free, **with_models}.items()}
        self._episodes: dict[tuple[int, int, bool], list[Episode]] = {}
        for n_way, k_shot in {(column.n_way, column.k_shot) for column in columns}:
            drawn = draw_episodes(clips, n_way, k_shot, count, seed=seed)
            self._episodes[n_way, k_shot, False] = drawn
            self._episodes[n_way, k_shot, True] = shuffle_labels(drawn, seed=seed)
        self._replies: dict[Job, dict[int, Reply]] = defaultdict(dict)
        self.too_long: dict[Job, str] = {}
        """What some prompt of a job lacked in the model's context; such a job has no score."""

    @property
    def answering(self) -> tuple[str, ...]:
        """Rows that count as the product's: the models, or nearest tokens if there are none."""
        return tuple(self._models) or (NEAREST,)

    @property
    def rows(self) -> dict[str, list[Job]]:
        """Rows of the table in order, with a job for each column: models, baselines, controls."""
        rows = {name: [self._job(name, column) for column in self.columns] for name in self._methods}
        for name in self.answering:
            rows[f"{name}, {SHUFFLED}"] = [self._job(name, column, shuffled=True) for column in self.columns]
        return rows

    def parts(self) -> list[list[tuple[Job, int]]]:
        """Return all the work: lists of jobs with episode numbers, each list for one job."""
        jobs = dict.fromkeys(job for row in self.rows.values() for job in row)
        starts = range(0, self.count, EPISODES_PER_PART)
        return [
            [(job, number) for number in range(start, min(start + EPISODES_PER_PART, self.count))]
            for job in jobs
            for start in starts
        ]

    def ask(self, part: Sequence[tuple[Job, int]]) -> int:
        """Answer a part and keep the replies; return their number. Safe to repeat."""
        job = part[0][0]
        if job in self.too_long:
            return 0
        method, episodes = self._methods[job.row](job.column), self.episodes(job)
        try:
            for _, number in part:
                self._replies[job][number] = method(self.clips, episodes[number])
        except PromptTooLong as error:
            self.too_long[job] = str(error)
            return 0
        return len(part)

    def scores(self) -> dict[str, list[Score | None]]:
        """Return by row a score for each column, None where a prompt was too long."""
        return {name: [self._score(job) for job in jobs] for name, jobs in self.rows.items()}

    def _job(self, row: str, column: Column, *, shuffled: bool = False) -> Job:
        if row not in self._models:
            column = replace(column, instruction=True, repeats=0)
        return Job(row, column, shuffled)

    def episodes(self, job: Job) -> list[Episode]:
        """Return the episodes of a job."""
        return self._episodes[job.column.n_way, job.column.k_shot, job.shuffled]

    def replies(self, job: Job) -> list[Reply]:
        """Return the replies to a job's episodes, in order; none if a prompt was too long."""
        return [] if job in self.too_long else [self._replies[job][number] for number in range(self.count)]

    def _score(self, job: Job) -> Score | None:
        if job in self.too_long:
            return None
        return score(self.replies(job), self.episodes(job))


def always(method: Method) -> MethodFactory:
    """Return the factory of a method that is the same for every column."""
    return lambda _: method
