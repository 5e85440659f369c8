"""Media types of objects, so that a browser opens a page or plays a sound instead of saving it."""

from collections.abc import Mapping

_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "wav": "audio/wav",
    "flac": "audio/flac",
}
_INLINE = {"html", "json", "wav", "flac"}
"""Suffixes of files that browsers show or play themselves."""


def media_headers(key: str) -> Mapping[str, str]:
    """Return the arguments of a PUT that name the media type of a key; none for unknown suffixes."""
    suffix = key.rpartition(".")[2]
    if suffix not in _TYPES:
        return {}
    headers = {"ContentType": _TYPES[suffix]}
    return {**headers, "ContentDisposition": "inline"} if suffix in _INLINE else headers
