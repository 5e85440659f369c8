"""What a form brings, read and checked; nothing of it is trusted."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

MAX_BYTES, MAX_FIELDS = 16_384, 16
Form = Mapping[str, str]


async def read_form(request: Request) -> Form:
    """Return the fields of a form. Raises HTTPException for what is none, or is too large."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise HTTPException(415, "A decision is sent by the form of its page")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise HTTPException(413, f"The form has over {MAX_BYTES} bytes: shorten the note")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise HTTPException(400, "The form is not text in UTF-8 of a few fields") from None
    return dict(fields)


def line_of(form: Form, name: str, most: int) -> str | None:
    """Return a field on one line, None if it is empty. Raises HTTPException if it is too long."""
    value = " ".join(form.get(name, "").replace("\0", " ").split())
    if len(value) > most:
        raise HTTPException(400, f"{name} has {len(value)} characters, the limit is {most}")
    return value or None
