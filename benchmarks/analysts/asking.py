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


@dataclass(frozen=True)
class Patience:
    """How often a question is asked: at least and at most so many times, and for so many seconds."""

    least: int
    most: int
    seconds: float


PATIENCE = Patience(5, 40, 8.0)


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


def ask_all(analyst: str, questions: Sequence[Question], corpus: Corpus, patience: Patience) -> list[Asked]:
    """Ask each question some times, after one time that does not count."""
    random = Random(SEED)
    engine = create_engine(analyst, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        return [_ask(connection, question, corpus, random, patience) for question in questions]


def _ask(
    connection: Connection, question: Question, corpus: Corpus, random: Random, patience: Patience
) -> Asked:
    times: list[float] = []
    while len(times) <= patience.least or (
        len(times) <= patience.most and sum(times[1:]) < 1000 * patience.seconds
    ):
        sql = text(question.asked_of(corpus, random).replace(":", r"\:"))
        begun = perf_counter()
        connection.execute(sql).all()
        times.append(1000 * (perf_counter() - begun))
    asked = Asked(question, times[1:])
    print(f"{asked.p50:8.1f} {asked.p95:8.1f}  {question.sql}", flush=True)
    return asked
