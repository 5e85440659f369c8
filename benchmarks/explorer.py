"""How long the pages to look and listen take on a large database.

`python -m benchmarks.explorer [--clips N]` starts an embedded Postgres, fills it as benchmarks.analysts does,
adds pooled latents, asks each page several times as a browser would, and prints the median and slowest
milliseconds, the bar of searches, and a JSON line. No sound is read.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from sqlalchemy import NullPool, create_engine, text
from starlette.testclient import TestClient

from benchmarks.analysts.filling import corpus_of, fill
from benchmarks.recorded import verdict
from benchmarks.scale_out import fresh_database
from db.embedded import server as embedded
from db.engine import make_engine
from flows.pipeline.configuration.settings import Settings
from flows.server.explorer.app import explorer_app
from flows.server.explorer.audio.sounds import Sounds

CLIPS = 100_000
TIMES = 7
BAR_MS = 300.0
NAME = "explorer"
ADDRESS = "http://127.0.0.1:4201"
LATENTS = """
INSERT INTO pooled_latents (content_sha256, codec_id, mean, deviation, run_id)
SELECT content_sha256, codec_id, value, value, run_id FROM token_sequences, LATERAL (
  SELECT decode(string_agg(substr(encode(content_sha256, 'hex'), 2 * place + 1, 2) || '3c', ''), 'hex')
    AS value
  FROM generate_series(0, 31) AS place
) AS bytes
"""
PLACE = "place=s3://calls&library=sounds"
DAY = "place=s3://calls/7&library=sounds"
PAGES = {
    "least sure of all": f"/clips?{PLACE}",
    "least sure of a day": f"/clips?{DAY}",
    "of a label": f"/clips?{PLACE}&label=rain",
    "of a label that nobody has": f"/clips?{PLACE}&label=none",
    "far down the list": f"/clips?{PLACE}&after=0.9:1",
    "by a part of the name": f"/clips?{PLACE}&name=9999",
    "by words and label": f"/clips?{PLACE}&label=rain&words=word3+word4",
    "set aside": f"/clips?{PLACE}&show=aside",
    "search by a word": "/search?words=word7",
    "search by words and a gap": "/search?words=word7+*+word100",
    "search by words below a day": "/search?words=word7+*+word100&place=s3://calls/7",
    "a clip": "/clips/{clip}",
    "similar, 10,000 compared": "/clips/{clip}/similar",
    "similar of a day": "/clips/{clip}/similar?place=s3://calls/7",
    "map of a day": f"/map?{DAY}",
    "overview": "/",
}
SEARCHES = [name for name in PAGES if name != "map of a day"]


def add_latents(url: str) -> None:
    """Write a latent for each content, as the owner."""
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(LATENTS)
        connection.exec_driver_sql("ANALYZE")


def ask_pages(analyst: str, home: Path) -> Mapping[str, Sequence[float]]:
    """Return the milliseconds of each page, several times each, after one that is not counted."""
    settings = Settings(home=home)
    engine, sounds = make_engine(analyst), Sounds(settings)
    app = explorer_app(settings, engine, sounds, "wordwave:secret", [ADDRESS])
    with engine.connect() as connection:
        query = text("SELECT clip_id FROM analytics.clips WHERE uri = 's3://calls/7/97.flac'")
        clip = connection.scalar(query) or connection.scalar(text("SELECT min(clip_id) FROM analytics.clips"))
    client = TestClient(app, base_url=ADDRESS)
    client.auth = ("wordwave", "secret")
    spent = {name: _times(client, path.format(clip=clip)) for name, path in PAGES.items()}
    sounds.close()
    engine.dispose()
    return spent


def _times(client: TestClient, path: str) -> list[float]:
    found = []
    for _ in range(TIMES + 1):
        begun = perf_counter()
        answer = client.get(path)
        found.append(1000 * (perf_counter() - begun))
        assert answer.status_code == 200, answer.text
    return found[1:]


def report(spent: Mapping[str, Sequence[float]]) -> None:
    """Print the milliseconds of each page, and the slowest search against its bar."""
    for name, times in spent.items():
        print(f"{median(times):8.0f} ms  {max(times):8.0f} ms  {name}")
    slowest = max(median(spent[name]) for name in SEARCHES)
    print(f"  slowest search {slowest:.0f} ms of {BAR_MS:.0f} {verdict(slowest <= BAR_MS)}")


def main() -> None:
    """Fill a database, ask for the pages and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=CLIPS)
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        home = Path(folder) / "home"
        server = embedded.start(home)
        try:
            fresh_database(server, NAME)
            fill(server.admin_url(NAME), corpus_of(clips))
            add_latents(server.url("owner", NAME))
            spent = ask_pages(server.url("analyst", NAME), home)
        finally:
            embedded.stop(home)
    report(spent)
    medians = {name: median(times) for name, times in spent.items()}
    print(json.dumps({"benchmark": "explorer", "cores": os.cpu_count(), "clips": clips, "ms": medians}))


if __name__ == "__main__":
    main()
