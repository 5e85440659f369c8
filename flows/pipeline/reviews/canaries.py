"""The canaries that the last night with a library asked: questions, and never demonstrations."""

from db.engine import session_scope
from db.libraries import LibraryDemonstration, LibraryVersion, get_library
from db.library_names import split_library_name
from flows.pipeline.labeling.library_review import nightly_request
from flows.pipeline.runtime.resources import Runtime


def canaries_of(runtime: Runtime, version: LibraryVersion) -> tuple[LibraryDemonstration, ...]:
    """Return the canaries, none if that night asked none."""
    _, asked = nightly_request(runtime, version)
    if asked is None:
        return ()
    with session_scope(runtime.engine) as session:
        return get_library(session, *split_library_name(asked.canary_library)).demonstrations
