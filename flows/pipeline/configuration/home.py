"""The working folder, with fingerprints of models, passwords and, by default, results."""

from db.private import private_folder
from flows.pipeline.configuration.settings import RESULTS, Settings


def close_home(settings: Settings) -> None:
    """Make the working folder, and the results in it, private to this user.

    A place that WORDWAVE_STORAGE_URI names keeps its permissions.
    """
    private_folder(settings.home)
    results = settings.home / RESULTS
    if settings.storage_uri == str(results):
        private_folder(results)
