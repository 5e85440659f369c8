"""Choice of the storage of a place."""

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.allow_list import Access
from flows.pipeline.storage.interface import Storage
from flows.pipeline.storage.local import LocalStorage
from flows.pipeline.storage.uris import canonical, is_s3


def open_storage(uri: str, settings: Settings) -> Storage:
    """Open the storage of `uri` (s3://bucket/folder, file:///folder or a path). Keys are relative to it.

    Each call checks the allow-list, so opening a place gives no access by itself.
    """
    base = canonical(uri)
    if not is_s3(base):
        return LocalStorage(base, Access.of(settings), settings.max_bytes)
    # boto3 takes 0.3 s to import, which local folders do not need.
    from flows.pipeline.storage.s3.storage import S3Storage, make_client

    return S3Storage(make_client(settings), base, settings)
