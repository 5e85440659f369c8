"""Recognises credentials in texts that must not hold any: addresses in forms, settings, logs.

Flow parameters are stored and shown in clear, and so are the addresses of clips. A credential that slips
into one of them would stay readable for ever, so it is refused at the door.
"""

import re
from urllib.parse import urlsplit

# An AWS access key, user:password@ before a host (no bucket name holds an @), or a signed URL.
# Kept to what Python's and a browser's regular expressions share: forms use it as a JSON schema pattern.
CREDENTIAL = r"(?:AKIA|ASIA)[0-9A-Z]{16}|://[^/\s]*@|[?&]X-Amz-(?:Signature|Credential|Security-Token)="


def refuse_credentials(text: str) -> str:
    """`text` itself, or ValueError (which does not repeat it) when it seems to hold a credential."""
    if re.search(CREDENTIAL, text):
        raise ValueError(
            "this looks like it holds a credential (an access key, user:password@ or a signed URL): "
            "name the place alone; credentials come from the worker's environment or role"
        )
    return text


_MASKED = (
    (re.compile(r"://[^/\s@:]*:[^\s@]*@"), "://***@"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "***"),
    (re.compile(r"([?&]X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s'\"]+"), r"\1***"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:basic|bearer)?\s*)[^\s'\",]+"), r"\1***"),
    (re.compile(r"(?i)\b((?:password|secret_access_key)['\"]?\s*[:=]\s*['\"]?)[^\s'\",]+"), r"\1***"),
)


def mask_credentials(text: str) -> str:
    """Any text with three stars for what seems to be a credential in it."""
    for pattern, replacement in _MASKED:
        text = pattern.sub(replacement, text)
    return text


def mask_url(url: str) -> str:
    """A URL without its password and its query, for people to read; three stars where it cannot be parsed."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "***"
    # An unquoted "/", "?" or "#" in a password ends the host early and leaves its rest in the path.
    if not parts.scheme or url.count("@") != parts.netloc.count("@"):
        return "***"
    user = f"{parts.username}@" if parts.username else ""
    if parts.password is not None:
        user = f"{parts.username}:***@"
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"
