"""Both kinds of storage behind one face, so that each promise is tested on each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import Storage, open_storage
from flows.pipeline.storage.uris import file_uri
from tests.fixtures_s3 import S3Bucket


class World(Protocol):
    """The side of a store that is not ours: people who put, change and remove objects."""

    @property
    def place(self) -> str: ...
    def put(self, name: str, data: bytes) -> str: ...
    def remove(self, name: str) -> None: ...


@dataclass(frozen=True)
class LocalWorld:
    place: str

    def put(self, name: str, data: bytes) -> str:
        path = Path(self.place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return file_uri(path)

    def remove(self, name: str) -> None:
        Path(self.place, name).unlink()


@dataclass(frozen=True)
class S3World:
    place: str
    s3: S3Bucket

    def put(self, name: str, data: bytes) -> str:
        return self.s3.put(f"clips/{name}", data)

    def remove(self, name: str) -> None:
        self.s3.client.delete_object(Bucket=self.s3.bucket, Key=f"clips/{name}")


@dataclass(frozen=True)
class Store:
    """A storage open at the place of results, the settings behind it, and the clips' side of the world."""

    storage: Storage
    settings: Settings
    world: World


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Clips may be read in world.place and nowhere else; results go beside them."""
    if request.param == "local":
        (tmp_path / "clips").mkdir()
        world: World = LocalWorld(str(tmp_path / "clips"))
        results = str(tmp_path / "results")
    else:
        s3: S3Bucket = request.getfixturevalue("s3")
        world = S3World(f"{s3.uri}/clips", s3)
        results = f"{s3.uri}/results"
    settings = Settings(home=tmp_path, storage_uri=results, read_roots=(world.place,))
    return Store(open_storage(results, settings), settings, world)
