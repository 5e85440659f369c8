"""The allow-list, so that people who can start a flow cannot read everything that the worker could."""

from dataclasses import dataclass

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.interface import StorageRefused
from flows.pipeline.storage.uris import canonical, within


@dataclass(frozen=True)
class Access:
    """Canonical URIs of the roots that may be read, and of the one that may be written and read back."""

    read_roots: tuple[str, ...]
    write_root: str

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        return cls(tuple(map(canonical, settings.read_roots)), canonical(settings.storage_uri))

    def root(self, uri: str) -> str:
        """Return the root that allows reading `uri`. Raises StorageRefused with the list if none does."""
        for root in (*self.read_roots, self.write_root):
            if within(uri, root):
                return root
        allowed = ", ".join((*self.read_roots, self.write_root))
        raise StorageRefused(
            f"{uri!r} may not be read; allowed: {allowed}. To allow it, the operator adds its bucket or "
            "folder to WORDWAVE_READ_ROOTS"
        )

    def check_write(self, uri: str) -> None:
        """Raise StorageRefused unless `uri` is in the place for results."""
        if not within(uri, self.write_root):
            raise StorageRefused(
                f"{uri!r} may not be written; results go to {self.write_root} (WORDWAVE_STORAGE_URI)"
            )
