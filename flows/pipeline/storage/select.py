"""Chooses the storage of a place."""

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.allow_list import Access
from flows.pipeline.storage.interface import Storage
from flows.pipeline.storage.local import LocalStorage
from flows.pipeline.storage.uris import canonical, is_s3


def open_storage(uri: str, settings: Settings) -> Storage:
    """The storage of `uri` (s3://bucket/folder, file:///folder or a path); keys written are relative to it.

    What may be read or written is checked at each call, so opening a place allows nothing.
    """
    base = canonical(uri)
    if not is_s3(base):
        return LocalStorage(base, Access.of(settings), settings.max_bytes)
    # boto3 takes 0.3 s to import, which people with local folders need not wait for.
    from flows.pipeline.storage.s3.storage import S3Storage, make_client

    return S3Storage(make_client(settings), base, settings)
