"""Chooses the storage of a place."""

from flows.settings import Settings
from flows.storage.access import Access
from flows.storage.contract import Storage
from flows.storage.local import LocalStorage
from flows.storage.location import canonical, is_s3


def open_storage(uri: str, settings: Settings) -> Storage:
    """The storage of `uri` (s3://bucket/folder, file:///folder or a path); keys written are relative to it.

    What may be read or written is checked at each call, so opening a place allows nothing.
    """
    base = canonical(uri)
    if not is_s3(base):
        return LocalStorage(base, Access.of(settings), settings.max_bytes)
    # boto3 takes 0.3 s to import, which people with local folders need not wait for.
    from flows.storage.s3 import S3Storage, make_client

    return S3Storage(make_client(settings), base, settings)
