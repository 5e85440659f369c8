"""Complete listings of places, recorded in Postgres. No object is read."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from tempfile import SpooledTemporaryFile

from db.clips import add_clips
from db.engine import session_scope
from db.runs import RunClaim, hold_run
from flows.pipeline.clips.tombstones import Tombstones
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import timed
from flows.pipeline.storage import ObjectVersion
from flows.pipeline.storage.uris import below, canonical

GENERATED = "generated"
"""The folder of generated audio in the storage."""

_OBJECTS_PER_PART = 1_000
_MAX_HELD_BYTES = 16 * 2**20


def ingest(runtime: Runtime, place: str, run: RunClaim | None = None, *, allow_loss: bool = False) -> Counts:
    """List a bucket prefix or folder, and mark clips that are gone or replaced. Nothing is deleted.

    Versions that were forgotten are left out. Raises MostClipsLost if most known clips are not listed, unless
    that is allowed, and RunLost if another process has taken over the run.
    """
    with (
        _spooled(listed_clips(runtime, place)) as listed,
        timed("write"),
        session_scope(runtime.engine) as session,
    ):
        if run:
            hold_run(session, run)
        forgotten = partial(Tombstones(runtime.settings).versions, session)
        counts = add_clips(session, listed, canonical(place), allow_loss=allow_loss, find_forgotten=forgotten)
    rare = {name: getattr(counts, name) for name in ("unlisted", "forgotten") if getattr(counts, name)}
    return Counts(new=counts.new, known=counts.known, gone=counts.gone, **rare)


@contextmanager
def _spooled(listed: Iterator[ObjectVersion]) -> Iterator[Iterator[ObjectVersion]]:
    """Read a listing to its end before it is used, so that no transaction waits for the storage."""
    with SpooledTemporaryFile(_MAX_HELD_BYTES) as file:
        with timed("list"):
            while part := list(islice(listed, _OBJECTS_PER_PART)):
                pickle.dump(part, file)
        file.seek(0)
        yield chain.from_iterable(_parts(file))


def _parts(file: "SpooledTemporaryFile[bytes]") -> Iterator[list[ObjectVersion]]:
    with suppress(EOFError):
        while True:
            yield pickle.load(file)  # noqa: S301  written above, into a file without a name


def listed_clips(runtime: Runtime, place: str) -> Iterator[ObjectVersion]:
    """List the objects of a place without generated audio, unless that is the place.

    In a bucket that also keeps results, a run would otherwise take the answers of the last run for clips.
    """
    generated = below(canonical(f"{runtime.settings.storage_uri}/{GENERATED}"))
    listed = runtime.storage(place).list(place)
    if below(canonical(place)).startswith(generated):
        return listed
    return (one for one in listed if not one.uri.startswith(generated))
