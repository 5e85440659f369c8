"""Which clips there are: one complete listing of a place, recorded in Postgres. No object is read."""

from db.clips import add_clips
from db.engine import session_scope
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.storage.location import canonical


def ingest(runtime: Runtime, place: str) -> Counts:
    """Lists a bucket prefix or folder; what is gone or was replaced since is marked, nothing is deleted."""
    storage = runtime.storage(place)
    with session_scope(runtime.engine) as session:
        counts = add_clips(session, storage.list(place), canonical(place))
    return Counts(new=counts.new, known=counts.known, gone=counts.gone)
