"""Libraries from folders that are named by label, as many data sets come: dog/1.wav, bell/1.wav."""

from pathlib import Path
from urllib.parse import unquote

from pydantic import ValidationError

from flows.pipeline.libraries.manifest import MAX_LINES_IN_ERROR, MAX_ROWS, LabeledClipRow
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import FILE, canonical

NOT_CLIPS = (".csv", ".json", ".jsonl", ".md", ".txt")


def is_folder(manifest: str) -> bool:
    """Return whether what is imported is a folder: a local one, or a name that ends with a slash."""
    return manifest.endswith("/") or Path(manifest).is_dir()


def folder_rows(runtime: Runtime, folder: str) -> dict[int, LabeledClipRow]:
    """Return the clips below a folder by number, each labeled by the first folder that it is in.

    Hidden files and texts are left out. Raises ManifestError for clips in no folder.
    """
    place = canonical(folder).rstrip("/")
    listed = [one.uri for one in runtime.storage(place).list(place)]
    clips = sorted(uri for uri in listed if _is_clip(uri.removeprefix(f"{place}/")))
    if not 0 < len(clips) <= MAX_ROWS:
        raise ManifestError(f"{folder} has {len(clips)} clips in folders, 1 to {MAX_ROWS} are needed")
    labels = {uri: _label(uri, place) for uri in clips}
    if loose := [uri for uri, label in labels.items() if label is None]:
        some = ", ".join(loose[:MAX_LINES_IN_ERROR])
        raise ManifestError(f"{len(loose)} clips are in no folder that is named by their label: {some}")
    try:
        rows = [LabeledClipRow(path=uri, label=label or "") for uri, label in labels.items()]
    except ValidationError as error:
        raise ManifestError(f"a folder's name is no label: {error.errors()[0]['msg']}") from None
    return dict(enumerate(rows, start=1))


def _is_clip(path: str) -> bool:
    hidden = any(part.startswith(".") for part in path.split("/"))
    return not hidden and not path.lower().endswith(NOT_CLIPS)


def _label(uri: str, place: str) -> str | None:
    """Return the name of the first folder below a place, or None for a clip in the place itself."""
    name, below, _ = uri.removeprefix(f"{place}/").partition("/")
    if not below:
        return None
    return unquote(name) if uri.startswith(FILE) else name
