"""Answers with sound: a whole file, or the range of it that a player asks for."""

import os
import re
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from flows.server.explorer.audio.copies import Copy

CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def sound_response(request: Request, sound: Copy, media_type: str) -> Response:
    """Answer with a sound, 206 for one range of bytes and 416 for one outside the file.

    Anything else that Range may say is answered by the whole file, as HTTP allows.
    """
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-cache", "Content-Disposition": "inline"}
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or not any(match.groups()):
        return _part(sound, 0, sound.size, 200, media_type, headers)
    first, last = _bounds(match[1], match[2], sound.size)
    if first >= sound.size or first > last:
        headers["Content-Range"] = f"bytes */{sound.size}"
        return PlainTextResponse("The range is outside the sound.", status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{sound.size}"
    return _part(sound, first, last + 1, 206, media_type, headers)


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Return the first and the last byte; without a first one, `last` counts from the end."""
    if not first:
        return max(size - int(last), 0), size - 1 if int(last) else -1
    return int(first), min(int(last), size - 1) if last else size - 1


def _part(
    sound: Copy, start: int, end: int, status: int, media_type: str, headers: dict[str, str]
) -> Response:
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(_chunks(sound, start, end), status, headers, media_type)


def _chunks(sound: Copy, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        chunk = os.pread(sound.descriptor, min(CHUNK_BYTES, end - start), start)
        if not chunk:
            return
        yield chunk
        start += len(chunk)
