"""Recognition of credentials in texts that must not contain any: addresses in forms, settings and logs.

Flow parameters and the addresses of clips are stored and shown in clear. A credential in one of them would
stay readable forever, so it is refused at the door.
"""

import re
from urllib.parse import urlsplit

# An AWS access key, user:password@ before a host (no bucket name holds an @), or a signed URL.
# Kept to what Python's and a browser's regular expressions share: forms use it as a JSON schema pattern.
CREDENTIAL = r"(?:AKIA|ASIA)[0-9A-Z]{16}|://[^/\s]*@|[?&]X-Amz-(?:Signature|Credential|Security-Token)="


def refuse_credentials(text: str) -> str:
    """Return the text. Raises ValueError, which does not repeat it, if it seems to contain a credential."""
    if re.search(CREDENTIAL, text):
        raise ValueError(
            "this seems to contain a credential (an access key, user:password@ or a signed URL): "
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
    """Replace what seems to be a credential in a text by three stars."""
    for pattern, replacement in _MASKED:
        text = pattern.sub(replacement, text)
    return text


def mask_url(url: str) -> str:
    """Return a URL without its password and query, or three stars if it cannot be parsed."""
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
