"""Askings of questions as the analyst, and how long each took."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from time import perf_counter

import numpy as np
from sqlalchemy import Connection, NullPool, create_engine, text

from benchmarks.analysts.corpus import Corpus
from benchmarks.analysts.questions import Question

SEED = 7
MOST_ASKINGS, LEAST_ASKINGS, ASKING_SECONDS = 40, 5, 8.0


@dataclass(frozen=True)
class Asked:
    """How long a question took each time, in milliseconds."""

    question: Question
    times: Sequence[float]

    @property
    def p50(self) -> float:
        """The median."""
        return float(np.quantile(self.times, 0.5))

    @property
    def p95(self) -> float:
        """95 of 100 askings took at most this."""
        return float(np.quantile(self.times, 0.95, method="higher"))


def ask_all(analyst: str, questions: Sequence[Question], corpus: Corpus) -> list[Asked]:
    """Ask each question some times, after one time that does not count."""
    random = Random(SEED)
    engine = create_engine(analyst, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        return [_ask(connection, question, corpus, random) for question in questions]


def _ask(connection: Connection, question: Question, corpus: Corpus, random: Random) -> Asked:
    times: list[float] = []
    while len(times) <= LEAST_ASKINGS or (
        len(times) <= MOST_ASKINGS and sum(times[1:]) < 1000 * ASKING_SECONDS
    ):
        sql = text(question.asked_of(corpus, random).replace(":", r"\:"))
        begun = perf_counter()
        connection.execute(sql).all()
        times.append(1000 * (perf_counter() - begun))
    return Asked(question, times[1:])
