"""Translation of S3 errors into storage errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from flows.pipeline.storage.interface import CredentialsRejected, StorageDenied, StorageMissing

DENIED = {"AccessDenied", "AllAccessDisabled"}


def code_of(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def status_of(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn errors about missing buckets, denied access and credentials into storage errors."""
    try:
        yield
    except ClientError as error:
        failed = f"{place!r}: {error.operation_name}"
        if code_of(error) == "NoSuchBucket":
            raise StorageMissing(f"{place!r}: there is no such bucket") from error
        if code_of(error) in DENIED:
            raise StorageDenied(
                f"{failed} was denied ({code_of(error)}): give the worker's role that permission, or the "
                "worker other credentials"
            ) from error
        if status_of(error) == 403:
            raise CredentialsRejected(
                f"{failed} was refused ({code_of(error)}): check the worker's key, how long it lasts and the "
                "clock of this machine"
            ) from error
        raise
