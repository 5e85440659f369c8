"""The allow-list: whoever can start a flow must not read all that the worker could."""

from collections.abc import Iterable
from dataclasses import dataclass

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.interface import StorageRefused
from flows.pipeline.storage.uris import canonical, within


@dataclass(frozen=True)
class Access:
    """Canonical URIs: the roots that may be read, and the one that may be written (and read back)."""

    read_roots: tuple[str, ...]
    write_root: str

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        return cls(_canonical(settings.read_roots), canonical(settings.storage_uri))

    def root(self, uri: str) -> str:
        """The root that lets `uri` be read. StorageRefused, saying what is allowed, when none does."""
        for root in (*self.read_roots, self.write_root):
            if within(uri, root):
                return root
        allowed = ", ".join((*self.read_roots, self.write_root))
        raise StorageRefused(
            f"{uri!r} may not be read; allowed: {allowed}. To allow it, the operator adds its bucket or "
            "folder to WORDWAVE_READ_ROOTS"
        )

    def check_write(self, uri: str) -> None:
        """StorageRefused unless `uri` lies where results go."""
        if not within(uri, self.write_root):
            raise StorageRefused(
                f"{uri!r} may not be written; results go to {self.write_root} (WORDWAVE_STORAGE_URI)"
            )


def _canonical(places: Iterable[str]) -> tuple[str, ...]:
    return tuple(canonical(place) for place in places)
