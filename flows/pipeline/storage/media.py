"""What a browser is told about an object, so that it opens a page or plays a sound instead of saving it."""

from collections.abc import Mapping

_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "wav": "audio/wav",
    "flac": "audio/flac",
}
_OPENED = {"html", "json", "wav", "flac"}
"""Kinds that browsers show or play themselves."""


def media_headers(key: str) -> Mapping[str, str]:
    """Return the arguments of a PUT that name the kind of a key, by its suffix; none for other suffixes."""
    kind = key.rpartition(".")[2]
    if kind not in _TYPES:
        return {}
    headers = {"ContentType": _TYPES[kind]}
    return {**headers, "ContentDisposition": "inline"} if kind in _OPENED else headers
