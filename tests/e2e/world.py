"""What a night works on: clips and a library in a bucket, results in another, a database of their own."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flows.cli.torture.sounds import wav
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.report import ClipAnswers
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.language_model import LanguageModel
from flows.pipeline.runtime.resources import Runtime
from tests.fixtures_postgres import Database
from tests.fixtures_s3 import S3Bucket

LIBRARY = "sounds"
REQUEST = LabelRequest(LIBRARY)
RATE = 16_000


def one(objects: Mapping[str, bytes], folder: str, kind: str) -> bytes:
    """The one file of labels of a kind that lies in a folder."""
    [key] = [key for key in objects if key.startswith(f"{folder}/labels-") and key.endswith(f".{kind}")]
    return objects[key]


def plain(key: str) -> str:
    """The key of a file without the digest of its content, its day and its codec."""
    key = re.sub(r"/day=[0-9-]{10}|=[0-9a-f]{12}(?=/tokens)", "", key)
    return re.sub(r"/labels-[0-9a-f]{12}\.", "/labels.", key)


@dataclass(frozen=True)
class World:
    """Clips lie in `clips`/day, libraries in `clips`/library; what is written goes to `results`."""

    clips: S3Bucket
    results: S3Bucket
    database: Database
    home: Path

    @property
    def place(self) -> str:
        return f"{self.clips.uri}/day"

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.home,
            database_url=self.database.url("writer"),
            storage_uri=self.results.uri,
            s3_endpoint_url=self.clips.endpoint,
            read_roots=(self.clips.uri,),
        )

    def put(self, name: str, data: bytes) -> str:
        return self.clips.put(f"day/{name}", data)

    def remove(self, name: str) -> None:
        self.clips.client.delete_object(Bucket=self.clips.bucket, Key=f"day/{name}")

    def put_library(self, clips: Mapping[str, bytes], labels: Mapping[str, str]) -> str:
        """Puts a manifest and its clips; `labels` by the names of `clips`. The manifest's uri."""
        for name, data in clips.items():
            self.clips.put(f"library/{name}", data)
        rows = [json.dumps({"path": name, "label": label}) for name, label in labels.items()]
        return self.clips.put("library/manifest.jsonl", "\n".join(rows).encode())

    def objects(self) -> dict[str, bytes]:
        """Everything that was written, by key."""
        listed = self.results.client.list_objects_v2(Bucket=self.results.bucket).get("Contents", [])
        return {entry["Key"]: self.results.get(entry["Key"]) for entry in listed}


CHEAP = {"check_tokenizer"}
"""What a model answers without computing."""


class Counting:
    """Stands before a model and counts what it is asked to compute."""

    def __init__(self, model: Any) -> None:
        self.model, self.calls = model, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.model, name)
        if not callable(attribute) or name in CHEAP:
            return attribute

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return attribute(*arguments, **named)

        return counted


class CountingLanguageModel(LanguageModel):
    """An LLM that counts what it computes."""

    @cached_property
    def llama(self) -> Any:
        return Counting(super().llama)


def calls(llm: LanguageModel | None) -> Counter[str]:
    """What an LLM of a CountingRuntime computed."""
    assert isinstance(llm, CountingLanguageModel)
    found: Counter[str] = llm.llama.calls
    return found


class CountingRuntime(Runtime):
    """A process whose models count what they compute."""

    @cached_property
    def codec(self) -> Any:
        return Counting(super().codec)

    def _open_llm(self, name: str) -> LanguageModel:
        return CountingLanguageModel(self, name)


@contextmanager
def opened(settings: Settings) -> Iterator[CountingRuntime]:
    """A runtime as a process of its own would have it; its threads, children and connections end with it."""
    runtime = CountingRuntime(settings)
    try:
        yield runtime
    finally:
        runtime.close()


def import_into(runtime: Runtime, manifest: str, name: str = LIBRARY, *, promote: bool = False) -> int:
    """The version of the library that the manifest makes."""
    return import_manifest(runtime, name, manifest, "label", promote=promote)[0].version


def night(runtime: Runtime, place: str, request: LabelRequest = REQUEST) -> Night:
    """The job as nightly-labeling does it, batch after batch."""
    return run_night(runtime, partition_of(place), request, with_bar, kind="nightly-labeling", export=True)


def labels(done: Night) -> list[str | None]:
    """What the clips of a night were labeled as, in the order of their names."""
    answers = ClipAnswers(done.labeling, done.selection)
    return [clip.answer.label if clip.answer else None for clip in answers]


def tone(hertz: float, seconds: float = 0.3) -> bytes:
    """A WAV of one frequency; equal arguments give equal bytes."""
    return wav(0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE))
