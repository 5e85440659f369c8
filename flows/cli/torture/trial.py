"""A library, a folder of clips and nights over them, in a place and under a name of their own."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from db.engine import session_scope
from db.ledger import Ledger, read_ledger
from db.promotions import ModelSet
from flows.cli.torture.fuse import Fuse, FusedRuntime, Killed, watching_database
from flows.cli.torture.objects import open_objects
from flows.cli.torture.sounds import PITCHES, clip
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.maintenance.ledger_check import (
    Finding,
    check_contents,
    check_ledger,
    check_settled,
    read_files,
)
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.maintenance.upgrade import model_set, promote_models
from flows.pipeline.nights.backfill import backfill, raise_failures
from flows.pipeline.nights.jobs import run_night, run_shard, with_bar
from flows.pipeline.nights.parts import Shard
from flows.pipeline.runs.partition import Partition, partition_of, partitions_of
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.storage import Storage
from flows.pipeline.storage.uris import canonical

if TYPE_CHECKING:
    from core.codec.files.opening import AnyCodec

KIND = "nightly-labeling"
SHARDS = 2
BATCH_SIZE = 3
SHOTS = (1, 2)
"""Demonstrations of each label in the two manifests of a library, which thus has two versions."""


class Trial:
    """Everything that people and the clock do to a place; answers are those of nearest neighbor on tokens.

    `name` is that of the folder below the storage of the settings, and of the library; demonstrations are
    the clips from number `first_clip` on.
    """

    def __init__(
        self, settings: Settings, name: str, first_clip: int = 0, codec: "AnyCodec | None" = None
    ) -> None:
        self.name, self.root = name, canonical(f"{settings.storage_uri}/{name}")
        own = {"storage_uri": self.results, "read_roots": (self.root,), "llm": None, "generation_llm": None}
        self.settings = settings.model_copy(update=own | {"batch_size": BATCH_SIZE, "download_threads": 1})
        self.put_clips: dict[str, bytes] = {}
        self.undone: list[UUID] = []
        self._objects, self._codec = open_objects(self.root, self.settings), codec
        self.runtime = self._started()
        self._put_library(first_clip)

    @property
    def place(self) -> str:
        """Return the folder of the clips."""
        return f"{self.root}/clips"

    @property
    def results(self) -> str:
        """Return the folder that runs write to."""
        return f"{self.root}/results"

    def close(self) -> None:
        """End threads, children and connections."""
        self.runtime.close()

    def _started(self) -> FusedRuntime:
        """Return what a new process begins with; the codec's weights are read once."""
        runtime = FusedRuntime(self.settings)
        if self._codec is not None:
            runtime.__dict__["codec"] = self._codec
        self._codec = runtime.codec
        return runtime

    def _put_library(self, first_clip: int) -> None:
        """Put two demonstrations of each label, and a manifest of one and one of both."""
        names = {f"{label}-{shot}.wav": label for shot in range(max(SHOTS)) for label in PITCHES}
        for number, name in enumerate(names, start=first_clip):
            self._objects.put(f"library/{name}", clip(number))
        rows = [json.dumps({"path": name, "label": label}) for name, label in names.items()]
        for shots in SHOTS:
            manifest = "\n".join(rows[: shots * len(PITCHES)]).encode()
            self._objects.put(f"library/{shots}.jsonl", manifest)

    def put(self, name: str, data: bytes) -> None:
        """Put or overwrite a clip."""
        self._objects.put(f"clips/{name}", data)
        self.put_clips[name] = data

    def remove(self, name: str) -> None:
        """Remove a clip."""
        self._objects.remove(f"clips/{name}")
        del self.put_clips[name]

    def clear(self) -> None:
        """Remove every object, those of the runs too."""
        self._objects.clear()

    def import_library(self, shots: int) -> None:
        """Import one of the manifests and put it into use."""
        manifest = f"{self.root}/library/{shots}.jsonl"
        import_manifest(self.runtime, self.name, manifest, "label", promote=True)

    def night(self) -> None:
        """Run a night over the place, as the nightly flow does."""
        self._night(partition_of(self.place, allow_loss=True))

    def _night(self, partition: Partition) -> None:
        run_night(self.runtime, partition, self.request, with_bar, kind=KIND, export=True, least_clips=0)

    def sharded_night(self) -> None:
        """Run a night over the place in shards."""
        partition = partition_of(self.place, allow_loss=True)
        options = {"kind": KIND, "export": True, "distribute": self._shards, "least_clips": 0}
        run_night(self.runtime, partition, self.request, with_bar, **options)  # type: ignore[arg-type]

    def _shards(self, partition: Partition, labelings: Labelings, run: OpenRun) -> None:
        for number in range(1, SHARDS + 1):
            run_shard(self.runtime, partition, Shard(run.id, number, SHARDS), labelings.request, with_bar)

    @property
    def request(self) -> LabelRequest:
        """Return what every night asks for: the version of the library in use."""
        return LabelRequest(self.name)

    def undo(self, run: UUID) -> None:
        """Undo a run, or an undoing."""
        self.undone.append(undo(self.runtime, run).id)

    def promote(self, version: int) -> None:
        """Promote a version of the library."""
        promote_models(self.runtime, f"{self.name}@{version}")

    def replay(self) -> None:
        """Replay quarantined clips."""
        replay_place(self.runtime, self.place, (), with_bar, allow_loss=True)

    def backfill(self) -> None:
        """Do today's night if it misses something."""
        today = _today()
        days = partitions_of(self.place, today, today, "UTC", allow_loss=True)
        raise_failures(backfill(Labelings(self.runtime, self.request), days, self._night), least_clips=0)

    def killed(self, step: Callable[[], None], call: int) -> bool:
        """Do a step, and kill its process at this call of the database or storage; whether it came so far."""
        self.runtime.fuse = Fuse(call)
        try:
            with watching_database(self.runtime.fuse):
                step()
        except Killed:
            self.restart()
            return True
        self.runtime.fuse = Fuse()
        return False

    def restart(self) -> None:
        """Continue in what is a new process."""
        self.runtime.close()
        self.runtime = self._started()

    def ledger(self) -> Ledger:
        """Return all rows about this place."""
        with session_scope(self.runtime.engine) as session:
            return read_ledger(session, f"{self.root}/", f"{self.root}/")

    def check(self) -> list[Finding]:
        """Return what is wrong at any moment."""
        return check_ledger(self.ledger(), self._storage(), self.results)

    def settle(self) -> list[Finding]:
        """Run two nights, and return what they left undone or wrote twice."""
        self.night()
        before, files = self._written()
        found = check_settled(before, self._storage().list(self.place), f"{self.place}/", self._model_set())
        found += check_contents(before, self._sha256s())
        self.night()
        if self._written() != (before, files):
            found.append(Finding("wrong", "a second night wrote something"))
        return found + self.check()

    def _written(self) -> tuple[Ledger, dict[str, bytes]]:
        return self.ledger(), read_files(self._storage(), self.results)

    def _storage(self) -> Storage:
        return self.runtime.storage(self.results)

    def _model_set(self) -> ModelSet:
        return model_set(Labeling(self.runtime, self.request))

    def _sha256s(self) -> dict[str, bytes]:
        clips = self.put_clips.items()
        return {f"{self.place}/{name}": hashlib.sha256(data).digest() for name, data in clips}


def _today() -> date:
    return datetime.now(UTC).date()
