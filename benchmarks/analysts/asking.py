"""Askings of questions as the analyst, and how long each took."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from time import perf_counter

import numpy as np
from psycopg2.errorcodes import QUERY_CANCELED
from sqlalchemy import Connection, NullPool, TextClause, create_engine, text
from sqlalchemy.exc import OperationalError

from benchmarks.analysts.corpus import Corpus
from benchmarks.analysts.processor import processor_ms
from benchmarks.analysts.questions import Question

SEED = 7
LONGEST = "60s"
"""A question that does not end by then has taken that long, and is not asked again."""


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
    processor: float
    """Processor time of the server each time, in the mean."""

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
        connection.execute(text(f"SET statement_timeout = '{LONGEST}'"))
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        return [_ask(connection, backend, question, corpus, random, patience) for question in questions]


def _ask(
    connection: Connection,
    backend: int,
    question: Question,
    corpus: Corpus,
    random: Random,
    patience: Patience,
) -> Asked:
    times: list[float] = []
    ends, spent = True, processor_ms(backend)
    while ends and (
        len(times) <= patience.least
        or (len(times) <= patience.most and sum(times[1:]) < 1000 * patience.seconds)
    ):
        sql = text(question.asked_of(corpus, random).replace(":", r"\:"))
        begun = perf_counter()
        ends = _ended(connection, sql)
        times.append(1000 * (perf_counter() - begun))
    asked = Asked(question, times[1:] or times, (processor_ms(backend) - spent) / len(times))
    print(f"{asked.p50:8.1f} {asked.p95:8.1f} {asked.processor:8.1f}  {question.sql}", flush=True)
    return asked


def _ended(connection: Connection, sql: TextClause) -> bool:
    """Ask, and return whether there was an answer in time."""
    try:
        connection.execute(sql).all()
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != QUERY_CANCELED:
            raise
        return False
    return True
