"""Tombstones as this installation reads them: with its key it knows again what was forgotten.

A listing meets the version of a uri before anything is read, and a reader the bytes before they are decoded.
"""

import hmac
import secrets
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.orm import Session

from db.object_version import ObjectVersion
from db.private import keep_private, private_folder
from db.tombstones import Grave, Kind, buried, stored_key_check
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs.asker import asker

KEY_FILE = "forget-key"
KEY_BYTES = 32


class WrongForgetKey(ValueError):
    """The tombstones of the database were made with another key, so nobody here can tell what they mean."""


class Tombstones:
    """Makes and looks up keyed hashes. The key is that of the settings, or of a file of the working folder.

    Its methods raise WrongForgetKey if the database has tombstones by another key: to go on would bring
    back what was forgotten.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @classmethod
    def for_trial(cls, settings: Settings) -> "Tombstones":
        """Return tombstones that nobody keeps: before there is a key, theirs is drawn for the moment."""
        own = cls(settings)
        return own if own._has_key else cls(settings.model_copy(update={"forget_key": _drawn()}))

    def graves(self, session: Session, kind: Kind, things: Iterable[bytes]) -> dict[bytes, Grave]:
        """Return what to bury for things of a kind. Draws the key if this is the first time."""
        if stored_key_check(session) is None:
            self._draw_key()
        check = self._own_check(session)
        return {thing: Grave(self._hash(kind, thing), kind, check, asker()) for thing in things}

    def in_place_of(self, digest: bytes) -> bytes:
        """Return a hash to put in place of one that was made of forgotten things among others."""
        return self._hash("digest", digest)

    def contents(self, session: Session, digests: Collection[bytes]) -> set[bytes]:
        """Return those of the contents that are forgotten."""
        return self._known(session, "content", digests)

    def uris(self, session: Session, uris: Collection[str]) -> set[str]:
        """Return those of the uris that are forgotten."""
        by_name = {uri.encode(): uri for uri in uris}
        return {by_name[name] for name in self._known(session, "uri", by_name)}

    def versions(self, session: Session, listed: Iterable[ObjectVersion]) -> set[ObjectVersion]:
        """Return those of the listed versions that are forgotten."""
        by_name = {version_name(clip.uri, token): clip for clip in listed for token in clip.tokens}
        return {by_name[name] for name in self._known(session, "version", by_name)}

    def _known(self, session: Session, kind: Kind, things: Collection[bytes]) -> set[bytes]:
        if not things or stored_key_check(session) is None:
            return set()
        self._own_check(session)
        by_hash = {self._hash(kind, thing): thing for thing in things}
        return {by_hash[known] for known in buried(session, by_hash)}

    def _own_check(self, session: Session) -> bytes:
        check = self._hash("check", b"") if self._has_key else b""
        if stored_key_check(session) not in (None, check):
            raise WrongForgetKey(
                "the tombstones of forgotten clips were made with another key: let WORDWAVE_FORGET_KEY hold "
                f"that key, or copy the file {KEY_FILE} from the working folder where clips were forgotten"
            )
        return check

    def _hash(self, kind: str, thing: bytes) -> bytes:
        return hmac.digest(self._key, kind.encode() + b"\0" + thing, "sha256")

    @property
    def _has_key(self) -> bool:
        return self._settings.forget_key is not None or self._file.exists()

    @cached_property
    def _key(self) -> bytes:
        if (given := self._settings.forget_key) is not None:
            return given.get_secret_value().encode()
        return self._file.read_text().strip().encode()

    def _draw_key(self) -> None:
        if not self._has_key:
            private_folder(self._settings.home)
            keep_private(self._file, f"{_drawn().get_secret_value()}\n")

    @property
    def _file(self) -> Path:
        return self._settings.home / KEY_FILE


def _drawn() -> SecretStr:
    return SecretStr(secrets.token_hex(KEY_BYTES))


def version_name(uri: str, token: str) -> bytes:
    """Return the name of a version of an object, as it is hashed: no uri has a zero byte."""
    return uri.encode() + b"\0" + token.encode()
