"""Write every reference page into a folder, with views read from an embedded Postgres made for it."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.embedded import server as embedded
from docs.generator.commands import commands_page
from docs.generator.dbt import sources_file
from docs.generator.flows import flows_page
from docs.generator.reasons import reasons_page
from docs.generator.schema import schema_page
from docs.generator.settings import settings_page
from migrations.upgrade import upgrade


def write_reference(folder: Path, database_url: str) -> None:
    """Write one page for each kind of thing; the database must be at the newest schema."""
    pages = {
        "flows.md": flows_page(),
        "commands.md": commands_page(),
        "settings.md": settings_page(),
        "reasons.md": reasons_page(),
        "schema.md": schema_page(database_url),
        "sources.yml": sources_file(database_url),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")


@contextmanager
def _migrated_database() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        server = embedded.start(Path(folder) / "home")
        try:
            upgrade(server.url("owner"))
            yield server.url("owner")
        finally:
            embedded.stop(Path(folder) / "home")


def main() -> None:
    """Parse the command line and write the pages."""
    parser = argparse.ArgumentParser(prog="python -m docs.generator", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with _migrated_database() as url:
        write_reference(folder, url)


if __name__ == "__main__":
    main()
