"""How long the same questions took on the views of the first release, which looked for the current answers.

`python -m benchmarks.analysts.first_views FOLDER [--clips N]` fills a database as `python -m
benchmarks.analysts` does, takes its schema back to that of the first release and asks what its pages
documented. A question that does not end within 60 s is stopped. What it made is deleted in the end.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from benchmarks.analysts.__main__ import CLIPS, filled_database, own_server
from benchmarks.analysts.asking import Asked, Patience, ask_all
from benchmarks.analysts.corpus import Corpus
from benchmarks.analysts.filling import corpus_of
from benchmarks.analysts.questions import Question
from db.embedded.server import EmbeddedServer
from migrations.upgrade import downgrade

FIRST_RELEASE = "20261125_generated_audio"
PATIENCE = Patience(2, 10, 8.0)
QUESTIONS = [
    Question(f"SELECT {question}")
    for question in (
        "label, count(*), avg(margin) FROM analytics.labels WHERE library = 'sounds' "
        "AND missing_since IS NULL GROUP BY label ORDER BY 2 DESC",
        "created_at::date, label, count(*) FROM analytics.labels WHERE library = 'sounds' GROUP BY 1, 2 "
        "ORDER BY 1, 2",
        "label, probability, margin FROM analytics.labels WHERE uri = 's3://calls/7/97.flac'",
        "uri, label, margin FROM analytics.labels WHERE library = 'sounds' ORDER BY margin LIMIT 20",
        "word, count(*) FROM analytics.words WHERE layer = 0 GROUP BY word ORDER BY 2 DESC LIMIT 20",
    )
]


def ask_first_views(
    server: EmbeddedServer, name: str, corpus: Corpus, patience: Patience = PATIENCE
) -> Sequence[Asked]:
    """Take a filled database back to the first release, and ask it each question some times."""
    downgrade(server.url("owner", name), FIRST_RELEASE)
    administrator = create_engine(server.admin_url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return ask_all(server.url("analyst", name), QUESTIONS, corpus, patience)


def main() -> None:
    """Fill a database, ask, and print the answers' times and a JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysts.first_views", description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder with a short path")
    parser.add_argument("--clips", type=int, default=CLIPS)
    given = parser.parse_args()
    corpus = corpus_of(given.clips)
    with own_server(given.folder) as server:
        filled_database(server, "clips", corpus)
        asked = ask_first_views(server, "clips", corpus)
    times = {one.question.sql: [round(one.p50, 1), round(one.p95, 1)] for one in asked}
    print(json.dumps({"benchmark": "analysts, first views", "clips": given.clips, "asked": times}))


if __name__ == "__main__":
    main()
