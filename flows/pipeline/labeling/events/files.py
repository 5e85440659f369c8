"""Events of a run as files beside its results: for each clip an Audacity label track and a WebVTT file."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from urllib.parse import unquote

from core.events.formats import Timed, audacity, webvtt
from db.engine import session_scope
from db.events import ClipEvents, events_of_run
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Storage

FORMATS: Mapping[str, Callable[[Iterable[Timed]], str]] = {"txt": audacity, "vtt": webvtt}
"""By the ending of the file."""
MAX_STEM = 80


def write_event_files(runtime: Runtime, run: OpenRun) -> Counts:
    """Write what the run heard to runs/<run id>/events/; safe to repeat: equal events give equal files."""
    storage = runtime.storage(runtime.settings.storage_uri)
    with session_scope(runtime.engine) as session:
        heard = list(events_of_run(session, run.id))
    write = partial(_write_clip, storage, f"runs/{run.id}/events")
    return Counts(event_files=sum(runtime.downloads.map(write, heard)))


def file_stem(uri: str) -> str:
    """Return the name of a clip's files without ending: its own, and what tells equal names apart."""
    name = re.sub(r"[^\w.-]", "_", unquote(uri.rpartition("/")[2]), flags=re.ASCII)[:MAX_STEM]
    return f"{name}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


def _write_clip(storage: Storage, folder: str, clip: ClipEvents) -> int:
    stem = file_stem(clip.uri)
    for ending, text_of in FORMATS.items():
        storage.write(f"{folder}/{stem}.{ending}", text_of(clip.events).encode())
    return len(FORMATS)
