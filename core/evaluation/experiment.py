"""Every way to answer, asked the same episodes, for each column of a table."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import PromptTooLong
from core.evaluation.episodes import Episode, LabeledClips, draw_episodes, shuffle_labels
from core.evaluation.measure import Score, score
from core.evaluation.methods import LanguageModel, Method, Reply, baselines
from core.evaluation.paper import Column
from core.llama.model import FrozenLlama
from core.prompts.few_shot import FewShotSettings
from core.tokens.vocabulary import Vocabulary

EPISODES_PER_PART = 50
"""Episodes that are asked at once, between two looks at the progress."""

NEAREST = "nearest tokens"
SHUFFLED = "shuffled labels"

MethodFactory = Callable[[Column], Method]
"""Makes the way to ask a model as a column says."""


def few_shot(llama: FrozenLlama, vocabulary: Vocabulary, settings: FewShotSettings) -> MethodFactory:
    """A frozen LLAMA, asked with a column's instruction and repeats; what else is shown, the settings say."""
    return lambda column: LanguageModel(
        llama, vocabulary, replace(settings, instruction=column.instruction, repeats=column.repeats)
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A row's answers to the episodes of a column."""

    row: str
    column: Column
    shuffled: bool = False
    """Whether the demonstrations' labels are mixed up, which leaves whoever learns from them at chance."""


class Experiment:
    """Clips, columns and ways to answer; asked part by part, so that others may run, repeat and watch it.

    models: by row of the table. Baselines come by themselves; they see neither instruction nor repeats, so
    columns of equal labels and shots share their answers. Raises ValueError where no episode can be drawn.
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
        # a baseline is asked in the same way whatever the column
        free = baselines(clips)
        self.baselines = tuple(free)
        self._methods = self._models | {name: _always(one) for name, one in free.items()}
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
        """The rows that answer for the product: the models, or nearest tokens where there is none."""
        return tuple(self._models) or (NEAREST,)

    @property
    def rows(self) -> dict[str, list[Job]]:
        """The table's rows in order, a job for each column: models, baselines, controls."""
        rows = {name: [self._job(name, column) for column in self.columns] for name in self._methods}
        for name in self.answering:
            rows[f"{name}, {SHUFFLED}"] = [self._job(name, column, shuffled=True) for column in self.columns]
        return rows

    def parts(self) -> list[list[tuple[Job, int]]]:
        """All that is to be asked: jobs with numbers of episodes, one job to a part."""
        jobs = dict.fromkeys(job for row in self.rows.values() for job in row)
        starts = range(0, self.count, EPISODES_PER_PART)
        return [
            [(job, number) for number in range(start, min(start + EPISODES_PER_PART, self.count))]
            for job in jobs
            for start in starts
        ]

    def ask(self, part: Sequence[tuple[Job, int]]) -> int:
        """Asks a part and keeps the replies; how many there are. Safe to repeat."""
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
        """By row a score for each column, None where a prompt was too long."""
        return {name: [self._score(job) for job in jobs] for name, jobs in self.rows.items()}

    def _job(self, row: str, column: Column, *, shuffled: bool = False) -> Job:
        if row not in self._models:
            column = replace(column, instruction=True, repeats=0)
        return Job(row, column, shuffled)

    def episodes(self, job: Job) -> list[Episode]:
        """What a job is asked."""
        return self._episodes[job.column.n_way, job.column.k_shot, job.shuffled]

    def replies(self, job: Job) -> list[Reply]:
        """The replies to a job's episodes, in their order; none where a prompt was too long."""
        return [] if job in self.too_long else [self._replies[job][number] for number in range(self.count)]

    def _score(self, job: Job) -> Score | None:
        if job in self.too_long:
            return None
        return score(self.replies(job), self.episodes(job))


def _always(method: Method) -> MethodFactory:
    return lambda _: method
