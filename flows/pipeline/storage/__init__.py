"""Storage of clips and results: S3 or local folders, with the same behavior."""

from db.object_version import ObjectVersion
from flows.pipeline.storage.interface import (
    CredentialsRejected,
    DamagedTransfer,
    Fetched,
    NothingRead,
    Readable,
    Storage,
    StorageDenied,
    StorageError,
    StorageMissing,
    StorageRefused,
    Stored,
)
from flows.pipeline.storage.retryable import is_transient
from flows.pipeline.storage.select import open_storage
from flows.pipeline.storage.uris import below, canonical

__all__ = [
    "CredentialsRejected",
    "DamagedTransfer",
    "Fetched",
    "NothingRead",
    "ObjectVersion",
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
