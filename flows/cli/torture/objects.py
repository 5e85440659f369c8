"""The side of a store that is not ours: people who put, change and remove objects."""

from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Protocol

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.uris import file_path, is_s3, split_s3

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


class Objects(Protocol):
    """Objects below one place, by names relative to it."""

    def put(self, name: str, data: bytes) -> None:
        """Put or overwrite an object."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object."""
        ...

    def clear(self) -> None:
        """Remove all of them, whatever wrote them."""
        ...


def open_objects(place: str, settings: Settings) -> Objects:
    """Return the objects below a canonical place."""
    if not is_s3(place):
        return _Files(file_path(place))
    from flows.pipeline.storage.s3.storage import make_client  # boto3 takes its time to import

    return _S3Objects(make_client(settings), *split_s3(place))


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self._folder / name).unlink()

    def clear(self) -> None:
        rmtree(self._folder, ignore_errors=True)


class _S3Objects:
    def __init__(self, client: "S3Client", bucket: str, folder: str) -> None:
        self._client, self._bucket, self._folder = client, bucket, folder

    def put(self, name: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"{self._folder}/{name}", Body=data)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"{self._folder}/{name}")

    def clear(self) -> None:
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self._bucket, Prefix=f"{self._folder}/"):
            for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                self._client.delete_object(
                    Bucket=self._bucket, Key=entry["Key"], VersionId=entry["VersionId"]
                )
