"""A night that several processes share: what is put before it, what it reads and what it leaves."""

import json
import subprocess
from collections import Counter
from dataclasses import replace
from typing import Any

from tests.e2e.nights import Outcome, outcome
from tests.e2e.s3_log import Request
from tests.e2e.world import World, import_into, opened, tone

CLIPS = 36
BATCH_SIZE = 4
SAME_BYTES = ("copy-0.wav", "copy-1.wav")
TOKENIZED = """
    SELECT uri FROM clips JOIN token_sequences USING (content_sha256)
    WHERE content_sha256 NOT IN (SELECT content_sha256 FROM demonstrations)
"""
ATTEMPTS = "SELECT attempts FROM runs WHERE kind = 'nightly-labeling'"


def put_clips(world: World) -> None:
    """Puts clips that are all different but for two, a broken one and a library."""
    labels = {"low.wav": "low", "high.wav": "high"}
    manifest = world.put_library({"low.wav": tone(200), "high.wav": tone(3000)}, labels)
    for number in range(CLIPS):
        world.put(f"{number}.wav", tone(300 + 70 * number))
    for name in SAME_BYTES:
        world.put(name, tone(5000))
    world.put("cut.wav", tone(400)[:-400])
    with opened(world.settings) as runtime:
        import_into(runtime, manifest)


def environment_of(world: World) -> dict[str, str]:
    """What processes need to work on the night of a world."""
    return {
        "WORDWAVE_DATABASE_URL": world.database.url("writer"),
        "WORDWAVE_S3_ENDPOINT_URL": world.clips.endpoint,
        "WORDWAVE_READ_ROOTS": world.clips.uri,
        "WORDWAVE_STORAGE_URI": world.results.uri,
        "WORDWAVE_BATCH_SIZE": str(BATCH_SIZE),
    }


def counts(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a night that went well counted."""
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    counted: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return counted


def left_by(world: World) -> Outcome:
    """All rows and objects but those that say who worked when."""
    left = outcome(world)
    return replace(left, tables={name: kept for name, kept in left.tables.items() if name != "runs"})


def is_read(request: Request) -> bool:
    return request.reads_object and "/day/" in request.path


def reads(requests: list[Request]) -> Counter[str]:
    """How often each clip was read."""
    return Counter(request.path.rpartition("/")[2] for request in filter(is_read, requests))
