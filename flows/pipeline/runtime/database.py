"""Addresses of the Postgres of the settings, or of the embedded server if none is set."""

from db.embedded.server import start
from flows.pipeline.configuration.settings import Settings
from migrations.upgrade import upgrade


def writer_url(settings: Settings) -> str:
    """Return the writer's address. Starts and migrates the embedded server if it is used."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    server = start(settings.home)
    upgrade(server.url("owner"))
    return server.url("writer")


def reader_url(settings: Settings) -> str:
    """Return the address for reading views: the analyst's, or the writer's if none is set."""
    if settings.analyst_database_url is not None:
        return settings.analyst_database_url.get_secret_value()
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return start(settings.home).url("analyst")


def analyst_url(settings: Settings) -> str:
    """Return the analyst's address. Starts and migrates the embedded server if it is used.

    Raises ValueError if an external database is set without its analyst's address.
    """
    if settings.analyst_database_url is not None:
        return settings.analyst_database_url.get_secret_value()
    if settings.database_url is not None:
        raise ValueError(
            "WORDWAVE_DATABASE_URL is set without WORDWAVE_ANALYST_DATABASE_URL: set it too, since pages and "
            "queries read as an analyst and never as the flows"
        )
    writer_url(settings)
    return start(settings.home).url("analyst")


def owner_url(settings: Settings) -> str:
    """Return the owner's address.

    Raises ValueError if an external database is set without its owner's address.
    """
    if settings.owner_database_url is not None:
        return settings.owner_database_url.get_secret_value()
    if settings.database_url is not None:
        raise ValueError(
            "WORDWAVE_DATABASE_URL is set without WORDWAVE_OWNER_DATABASE_URL: set it too, since this needs "
            "the owner's role, which the flows do not have"
        )
    return start(settings.home).url("owner")


def migrate(settings: Settings) -> str:
    """Migrate the database to this version's schema, as its owner, and return which one it was."""
    upgrade(owner_url(settings))
    if settings.owner_database_url is not None:
        return "the database of WORDWAVE_OWNER_DATABASE_URL"
    return f"the embedded database in {settings.home}"
