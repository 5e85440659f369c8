"""Where clips are read and results are written: S3 or local folders, with the same behaviour."""

from db.listed import Listed
from flows.storage.contract import (
    CredentialsRejected,
    DamagedTransfer,
    Fetched,
    Readable,
    Storage,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageRefused,
    Stored,
)
from flows.storage.location import below, canonical
from flows.storage.select import open_storage
from flows.storage.transient import is_transient

__all__ = [
    "CredentialsRejected",
    "DamagedTransfer",
    "Fetched",
    "Listed",
    "Readable",
    "Storage",
    "StorageDenied",
    "StorageError",
    "StorageMissing",
    "StorageRefused",
    "Stored",
    "below",
    "canonical",
    "is_transient",
    "open_storage",
]
