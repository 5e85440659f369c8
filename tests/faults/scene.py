"""A small night that can be repeated: clips in a bucket, a database with their library, what it leaves."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from pydantic import SecretStr

from db.embedded.server import EmbeddedServer
from db.engine import make_engine, session_scope
from db.ledger import Ledger, read_ledger
from flows.cli.torture.fuse import Fuse, FusedRuntime, Killed, watching_database
from flows.cli.torture.sounds import PITCHES, RATE, broken_clip, clip
from flows.flow_runs.explain import explain
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.maintenance.ledger_check import (
    Finding,
    check_contents,
    check_ledger,
    check_settled,
)
from flows.pipeline.maintenance.upgrade import model_set
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.nights import KIND
from tests.e2e.tables import Row, rows
from tests.e2e.world import LIBRARY
from tests.faults.proxy import Fault, Proxy
from tests.fixtures_postgres import Database, administer, make_database, migrated_database
from tests.fixtures_s3 import S3Bucket

BATCH_SIZE = 3
OUTAGE_SECONDS = 3.0
SHARED = ("codec", "downloads", "decoding", "_thread", "_decoders", "_reader")
PASSING = {"gone", "denied", "timeout", "transfer"}
"""Reasons that the outside decides, and that later nights try again."""
OUTCOME = """
    SELECT c.uri, encode(c.content_sha256, 'hex') AS content, q.reason, p.label, p.margin,
      md5(t.semantic::text || t.acoustic1::text || t.acoustic2::text || t.levels::text) AS codes,
      md5(l.mean || l.deviation) AS latent
    FROM clips c
    LEFT JOIN token_sequences t ON t.content_sha256 = c.content_sha256
    LEFT JOIN pooled_latents l ON l.content_sha256 = c.content_sha256
    LEFT JOIN predictions p ON p.content_sha256 = c.content_sha256 AND p.retracted_by_run IS NULL
    LEFT JOIN quarantine q ON q.clip_id = c.id AND q.resolved_at IS NULL
    WHERE c.missing_since IS NULL AND c.uri ^@ '{place}/' ORDER BY c.uri"""
LATER = "UPDATE quarantine SET last_seen = last_seen - interval '400 days' WHERE resolved_at IS NULL"
"""As if no night had been for long, so that what may be tried again is."""


@cache
def clips() -> Mapping[str, bytes]:
    """Return the clips of the night: several containers, the same bytes twice, a broken one.

    Made once: the serial number of an Ogg stream is drawn.
    """
    plain = {f"{number}.wav": clip(100 + number) for number in range(3)}
    others = {f"{number}.{name.lower()}": _written(number, name) for number, name in enumerate(("AU", "OGG"))}
    return plain | others | {"again.wav": clip(100), "broken.wav": broken_clip(110)}


def _written(number: int, container: str) -> bytes:
    file = io.BytesIO()
    samples, _ = soundfile.read(io.BytesIO(clip(105 + number)), dtype="float32")
    soundfile.write(file, np.asarray(samples), RATE, format=container)
    return file.getvalue()


def put_world(bucket: S3Bucket, *, checksums: bool) -> None:
    """Put the clips below `day` and a library beside it, with or without stored checksums."""
    options: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if checksums else {}
    demonstrations = {f"{label}.wav": (label, clip(number)) for number, label in enumerate(PITCHES)}
    manifest = "\n".join(f'{{"path": "{n}", "label": "{label}"}}' for n, (label, _) in demonstrations.items())
    objects = {f"day/{name}": data for name, data in clips().items()}
    objects |= {f"library/{name}": data for name, (_, data) in demonstrations.items()}
    for key, data in (objects | {"library/manifest.jsonl": manifest.encode()}).items():
        bucket.client.put_object(Bucket=bucket.bucket, Key=key, Body=data, **options)


def settings_of(clips: S3Bucket, proxy: Proxy, home: Path) -> Settings:
    """Return what all processes have in common; the proxy is their S3 server."""
    return Settings(
        home=home,
        storage_uri=str(home),
        s3_endpoint_url=proxy.url,
        read_roots=(clips.uri,),
        llm=None,
        batch_size=BATCH_SIZE,
        outage_timeout=OUTAGE_SECONDS,
    )


@contextmanager
def shared_by_all(settings: Settings) -> Iterator[Mapping[str, Any]]:
    """Open what each runtime would start anew: seconds, of a night that takes one."""
    runtime = Runtime(settings)
    for name in SHARED:
        getattr(runtime, name)
    yield {name: runtime.__dict__[name] for name in SHARED}
    runtime.close()


@dataclass
class Verdict:
    """What came of one disturbed night: whether it hit anything, and what it broke, at once or for good."""

    injected: int = 0
    found: list[Finding] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def add(self, found: list[Finding], when: str) -> None:
        """Keep findings, each with the moment of it."""
        self.found += [replace(finding, what=f"{when}: {finding.what}") for finding in found]


@dataclass(frozen=True)
class Scene:
    """A world whose clips no night changes.

    `template` is the database that each night begins with, `shared` what its runtimes take over from each
    other: weights, threads and child processes.
    """

    bucket: S3Bucket
    proxy: Proxy
    server: EmbeddedServer
    template: str
    home: Path
    shared: Mapping[str, Any]
    new_bucket: Callable[[], S3Bucket]
    expected: Mapping[str, Row] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where the clips are."""
        return f"{self.bucket.uri}/day"

    @contextmanager
    def fresh(self) -> Iterator["Stage"]:
        """Open a database as the template is, and an empty bucket for results."""
        with migrated_database(self.server, self.template) as database:
            yield Stage(self, database, self.new_bucket())

    def undisturbed(self) -> "Scene":
        """Return the scene that knows what a night leaves which nothing disturbs."""
        with self.fresh() as stage:
            stage.night()
            expected = stage.outcome()
        assert {row["reason"] for row in expected.values()} == {None, "truncated"}
        assert sum(row["label"] is not None for row in expected.values()) == len(expected) - 1
        return replace(self, expected=expected)

    @contextmanager
    def after_a_night(self) -> Iterator["Scene"]:
        """Open the scene in which every clip is known already, and one has arrived since."""
        name = f"after_{next(_NUMBERS)}"
        with migrated_database(self.server, self.template) as database:
            Stage(self, database, self.new_bucket()).night()
            administer(self.server, f"CREATE DATABASE {name} TEMPLATE {database.name}")
        make_database(self.server, name)
        yield replace(self, template=name)
        administer(self.server, f"DROP DATABASE {name} WITH (FORCE)")


_NUMBERS = count(1)


@dataclass(frozen=True)
class Stage:
    """A database and a bucket in which nights are disturbed and done again."""

    scene: Scene
    database: Database
    results: S3Bucket

    @property
    def settings(self) -> Settings:
        """Return those of a process of its own."""
        own = {"database_url": SecretStr(self.database.url("writer")), "storage_uri": self.results.uri}
        return settings_of(self.scene.bucket, self.scene.proxy, self.scene.home).model_copy(update=own)

    @contextmanager
    def runtime(self, fuse: Fuse | None = None) -> Iterator[FusedRuntime]:
        """Open what a new process begins with, but for what takes long to start."""
        runtime = FusedRuntime(self.settings)
        runtime.__dict__ |= self.scene.shared
        runtime.fuse = fuse or Fuse()
        try:
            yield runtime
        finally:
            runtime.engine.dispose()

    def import_library(self) -> None:
        """Import the library of the world."""
        with self.runtime() as runtime:
            import_manifest(runtime, LIBRARY, f"{self.scene.bucket.uri}/library/manifest.jsonl", "label")

    def night(self, fuse: Fuse | None = None) -> None:
        """Do a night to its end, or to its kill."""
        with self.runtime(fuse) as runtime:
            run_night(
                runtime,
                partition_of(self.scene.place),
                LabelRequest(LIBRARY),
                with_bar,
                kind=KIND,
                export=True,
            )

    def outcome(self) -> dict[str, Row]:
        """Return what each current clip has, by uri."""
        found = rows(self.database.url("writer"), OUTCOME.format(place=self.scene.place))
        return {row["uri"]: row for row in found}

    def disturbed(self, fault: Fault) -> Verdict:
        """Do a night with a fault of the store, and one after it has passed."""
        verdict, self.scene.proxy.fault = Verdict(), fault
        completed = self._attempt(verdict, self.night)
        self.scene.proxy.fault, verdict.injected = None, fault.injected
        self.look_at_once(verdict, completed=completed)
        return self.healed(verdict)

    def fused(self, fuse: Fuse) -> Verdict:
        """Do a night that a fuse kills or disturbs, and one after it."""
        verdict = Verdict(injected=1)
        with watching_database(fuse):
            completed = self._attempt(verdict, lambda: self.night(fuse))
        self.look_at_once(verdict, completed=completed)
        return self.healed(verdict)

    def _attempt(self, verdict: Verdict, night: Callable[[], None]) -> bool:
        try:
            night()
        except Killed:
            return False
        except Exception as error:
            if explain(error) is None:
                verdict.unclear.append(f"{type(error).__name__}: {error}")
            return False
        return True

    def look_at_once(self, verdict: Verdict, *, completed: bool) -> None:
        """A night that says it is completed has lost no clip; none has told anything wrong."""
        now, when = self.outcome(), "at once"
        verdict.add([*self._check(), *wrong(now, self.scene.expected)], when)
        if completed:
            verdict.add(lost(now, self.scene.expected), when)

    def healed(self, verdict: Verdict) -> Verdict:
        """Do the next night, later than any distance; it leaves what an undisturbed one does."""
        administer_in(self.database, LATER)
        self._attempt(verdict, self.night)
        with self.runtime() as runtime:
            ledger = self._ledger()
            listed = list(runtime.storage(self.scene.place).list(self.scene.place))
            labeling = Labeling(runtime, LabelRequest(LIBRARY))
            found = check_settled(ledger, listed, f"{self.scene.place}/", model_set(labeling))
        found += check_contents(ledger, self._sha256s()) + self._check()
        verdict.add([*found, *differing(self.outcome(), self.scene.expected)], "after the next night")
        return verdict

    def _sha256s(self) -> dict[str, bytes]:
        return {f"{self.scene.place}/{n}": hashlib.sha256(data).digest() for n, data in clips().items()}

    def _check(self) -> list[Finding]:
        with self.runtime() as runtime:
            return check_ledger(self._ledger(), runtime.storage(self.results.uri), self.results.uri)

    def _ledger(self) -> Ledger:
        engine = make_engine(self.database.url("writer"))
        with session_scope(engine) as session:
            ledger = read_ledger(session, f"{self.scene.bucket.uri}/", f"{self.results.uri}/")
        engine.dispose()
        return ledger


def administer_in(database: Database, statement: str) -> None:
    """Run a statement in a database as the flows' role."""
    engine = make_engine(database.url("writer"))
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def wrong(found: Mapping[str, Row], expected: Mapping[str, Row]) -> list[Finding]:
    """Return clips that have what an undisturbed night does not give them; what is missing may come."""
    return [
        Finding("wrong", f"{uri} has {name} {row[name]}, undisturbed {expected[uri][name]}")
        for uri, row in found.items()
        for name in row.keys() - {"uri"}
        if row[name] not in (None, expected[uri][name]) and row[name] not in PASSING
    ]


def lost(found: Mapping[str, Row], expected: Mapping[str, Row]) -> list[Finding]:
    """Return clips that are not there, or have neither label nor reason."""
    nothing = [
        uri for uri in expected if not (found.get(uri, {}).get("label") or found.get(uri, {}).get("reason"))
    ]
    return [Finding("lost", f"{uri} has no answer and no reason") for uri in nothing]


def differing(found: Mapping[str, Row], expected: Mapping[str, Row]) -> list[Finding]:
    """Return clips that do not have exactly what an undisturbed night gives them."""
    missing = [Finding("lost", f"{uri} is not there") for uri in expected.keys() - found.keys()]
    pairs = [(uri, row, expected.get(uri)) for uri, row in found.items()]
    return missing + [
        Finding("lost" if row["label"] is None else "wrong", f"{uri} has {row}, undisturbed {other}")
        for uri, row, other in pairs
        if row != other
    ]
