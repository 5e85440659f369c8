"""Which clips there are: one complete listing of a place, recorded in Postgres. No object is read."""

from collections.abc import Iterator

from db.clips import add_clips
from db.engine import session_scope
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.storage import Listed
from flows.storage.location import below, canonical

GENERATED = "generated"
"""The folder of the storage in which audio lies that was made here."""


def ingest(runtime: Runtime, place: str) -> Counts:
    """Lists a bucket prefix or folder; what is gone or was replaced since is marked, nothing is deleted."""
    with session_scope(runtime.engine) as session:
        counts = add_clips(session, listed_clips(runtime, place), canonical(place))
    return Counts(new=counts.new, known=counts.known, gone=counts.gone)


def listed_clips(runtime: Runtime, place: str) -> Iterator[Listed]:
    """What lies there, but for audio that was generated: in a bucket that also keeps results, a run would
    take the answers of the last one for clips. Named as the place itself, it is taken."""
    generated = below(canonical(f"{runtime.settings.storage_uri}/{GENERATED}"))
    asked_for = below(canonical(place)).startswith(generated)
    listed = runtime.storage(place).list(place)
    return (one for one in listed if asked_for or not one.uri.startswith(generated))
