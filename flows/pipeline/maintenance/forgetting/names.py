"""The names of what is forgotten, and how to find them in bytes, texts and JSON values."""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flows.pipeline.maintenance.forgetting.search import ByteSearch

_GOES_ON = re.compile(rb"[A-Za-z0-9._~%/-]")
"""What continues an address: the beginning of a longer one is another object's name."""


@dataclass(frozen=True)
class Names:
    """Digests of contents and addresses of objects."""

    contents: frozenset[bytes]
    uris: frozenset[str]

    @cached_property
    def texts(self) -> frozenset[str]:
        """All names as texts: digests in hex, and addresses."""
        return self.uris | {content.hex() for content in self.contents}

    @cached_property
    def _addresses(self) -> frozenset[bytes]:
        """The addresses as bytes: plain, in JSON of both kinds and in HTML."""
        return frozenset(
            text.encode(errors="surrogateescape")
            for uri in self.uris
            for text in (
                uri,
                html.escape(uri),
                *(json.dumps(uri, ensure_ascii=a)[1:-1] for a in (True, False)),
            )
        )

    @cached_property
    def _digests(self) -> frozenset[bytes]:
        """The digests as bytes: as they are, and in hex."""
        return self.contents | {content.hex().encode() for content in self.contents}

    @cached_property
    def _search(self) -> ByteSearch:
        return ByteSearch(self._digests | self._addresses)

    def are_in(self, data: bytes) -> bool:
        """Return whether bytes hold a name. An address counts if no longer one begins with it there."""
        return any(
            name in self._digests or not _GOES_ON.match(data, at + len(name))
            for at, name in self._search.find(data)
        )

    def are_in_json(self, value: Any) -> bool:
        """Return whether a JSON value has a text that is a name."""
        return any(text in self.texts for text in _texts(value))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
