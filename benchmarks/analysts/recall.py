"""How many of the clips that are most similar to one similar_clips finds, against comparing it with all."""

from random import Random

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, NullPool, create_engine, text

from benchmarks.analysts.corpus import NUM_CODES, Corpus
from benchmarks.analysts.questions import any_uri

SEED = 7
NEIGHBORS = 10


def recall(analyst: str, corpus: Corpus, queries: int = 20) -> float:
    """Return the share of the most similar clips of all that similar_clips finds among the first ten."""
    random, found = Random(SEED), []
    engine = create_engine(analyst, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        exact = _Exact(connection, corpus)
        for _ in range(queries):
            uri = any_uri(corpus, random)
            rows = connection.execute(
                text("SELECT similarity FROM similar_clips(:uri, :k)"), {"uri": uri, "k": NEIGHBORS}
            )
            best = exact.similarities(int(uri.rpartition("/")[2].removesuffix(".flac")))
            least = best[NEIGHBORS - 1] - 1e-9
            found.append(sum(one >= least for (one,) in rows) / NEIGHBORS)
    return float(np.mean(found))


class _Exact:
    """The similarity of all clips that are there to one, as the comment of similar_clips says it."""

    def __init__(self, connection: Connection, corpus: Corpus) -> None:
        counts = np.ones(NUM_CODES)
        for code, contents in connection.execute(text("SELECT code, contents FROM word_counts")):
            counts[code] = contents
        self._weights = np.log(1 + counts.max() / counts).astype(np.float32)
        numbers = np.arange(1, len(corpus.codes) + 1)
        self._numbers = numbers[numbers % 33 != 0]
        content = self._numbers - (self._numbers % 50 == 0) - 1
        wide = corpus.codes.astype(np.int32)
        self._pairs = wide[:, :-1] * NUM_CODES + wide[:, 1:]
        self._pairs.sort(axis=1)
        self._content = content

    def similarities(self, number: int) -> npt.NDArray[np.float32]:
        """Return the similarities of the other contents' clips, the highest first."""
        each = self._weights[:, None] + self._weights
        mine = np.unique(self._pairs[number - 1])
        is_mine = np.zeros(NUM_CODES**2, bool)
        is_mine[mine] = True
        total = np.empty(len(self._pairs), np.float32)
        shared = np.empty_like(total)
        for first in range(0, len(total), 50_000):
            pairs = self._pairs[first : first + 50_000]
            weights = each.ravel()[pairs]
            weights[:, 1:][pairs[:, 1:] == pairs[:, :-1]] = 0
            total[first : first + 50_000] = weights.sum(axis=1)
            shared[first : first + 50_000] = (weights * is_mine[pairs]).sum(axis=1)
        similarity = shared / (total + each.ravel()[mine].sum() - shared)
        others = self._content[self._content != number - 1]
        return np.sort(similarity[others])[::-1]
