"""The working folder: models' fingerprints, passwords and, by default, results."""

from db.private import private_folder
from flows.pipeline.configuration.settings import RESULTS, Settings


def close_home(settings: Settings) -> None:
    """Make the working folder, and results that are kept in it, for this user alone.

    A place that WORDWAVE_STORAGE_URI names keeps the permissions that its owner gave it.
    """
    private_folder(settings.home)
    results = settings.home / RESULTS
    if settings.storage_uri == str(results):
        private_folder(results)
