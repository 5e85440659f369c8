"""Verdicts of an evaluation in sentences: the product's accuracy, and whether a baseline beats it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from core.evaluation.experiment import Experiment, Job
from core.evaluation.measure import Score, lead

UNINFORMED_BASELINES = ("chance", "majority")
"""Baselines that ignore the audio; they are reported, but are not rivals."""
INTERVALS_EXPLAINED = (
    "Two intervals hold each accuracy with 95 %. The first one draws other questions, as if each asked a new "
    "clip. The second one draws other clips: it is the one to trust where few clips are asked many times."
)
MAX_MATRIX_LABELS = 12
"""Labels of the largest matrix that a page can show; for more, the most frequent mistakes are listed."""
MAX_MISTAKES = 20

Confusion = Mapping[tuple[str, str], float]
"""How often a clip of one label was answered with another: (right, answered) -> answers."""


def verdicts(experiment: Experiment) -> Iterator[tuple[int, str]]:
    """Yield the number of each column, and its winner in sentences."""
    rows, scores = experiment.rows, experiment.scores()
    for number in range(len(experiment.columns)):
        for name in experiment.answering:
            yield number, _verdict(experiment, rows, scores, name, number)


def _verdict(
    experiment: Experiment,
    rows: Mapping[str, Sequence[Job]],
    scores: Mapping[str, Sequence[Score | None]],
    name: str,
    number: int,
) -> str:
    mine = scores[name][number]
    if mine is None:
        return f"{name} gave no answers: a prompt does not fit its context."
    chance = scores["chance"][number]
    assert chance is not None
    sentence = (
        f"{name} answered {mine.accuracy:.1%} of {mine.episodes} questions right, about {mine.clips} clips; "
        f"guessing gets {chance.accuracy:.1%}."
    )
    others = {row: at[number] for row, at in scores.items() if _is_rival(experiment, row)}
    known = {row: score for row, score in others.items() if score is not None}
    if not known:
        return sentence
    best = max(known, key=lambda row: known[row].accuracy)
    return (
        f"{sentence} {_comparison(experiment, rows[name][number], rows[best][number], known[best].accuracy)}"
    )


def _comparison(experiment: Experiment, mine: Job, best: Job, accuracy: float) -> str:
    """Describe the winner, or a draw when other clips could have changed the result."""
    replies = experiment.replies(mine), experiment.replies(best)
    low, high = (100 * end for end in lead(*replies, experiment.episodes(mine)))
    by = f"{best.row}, {accuracy:.1%}; the lead is {low:+.1f} to {high:+.1f} points (95 %, over clips)"
    if low > 0:
        return f"It won over the best baseline, {by}."
    if high < 0:
        return f"It lost to a baseline that costs nothing, {by}."
    return f"Neither it nor the best baseline won, {by}."


def _is_rival(experiment: Experiment, row: str) -> bool:
    return row not in experiment.answering and row not in UNINFORMED_BASELINES and row in experiment.baselines


def confusion(experiment: Experiment, column: int) -> Confusion:
    """Count the answers of the product's first row, by the right label and the answer."""
    job = experiment.rows[experiment.answering[0]][column]
    counts: defaultdict[tuple[str, str], float] = defaultdict(float)
    for reply, episode in zip(experiment.replies(job), experiment.episodes(job), strict=False):
        for label, votes in zip(episode.label_set, reply.votes.tolist(), strict=True):
            if votes:
                counts[episode.answer, label] += votes
    return counts


def confusion_rows(counts: Confusion) -> Iterator[list[str]]:
    """Yield the lines of a matrix, right labels as rows; for many labels, the most frequent mistakes."""
    labels = sorted({label for pair in counts for label in pair})
    if len(labels) <= MAX_MATRIX_LABELS:
        yield ["clip is", *(f"answered {label}" for label in labels)]
        for right in labels:
            yield [right, *(f"{counts.get((right, answer), 0):g}" for answer in labels)]
        return
    yield ["clip is", "answered", "times"]
    mistakes = {pair: times for pair, times in counts.items() if pair[0] != pair[1]}
    for (right, answer), times in sorted(mistakes.items(), key=lambda one: -one[1])[:MAX_MISTAKES]:
        yield [right, answer, f"{times:g}"]
