"""Which Postgres the flows write to: the one of the settings, else the embedded one, at the newest schema."""

from db.embedded.server import start
from flows.pipeline.configuration.settings import Settings
from migrations.upgrade import upgrade


def writer_url(settings: Settings) -> str:
    """The writer's address. The embedded server is started and migrated on the way."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    server = start(settings.home)
    upgrade(server.url("owner"))
    return server.url("writer")


def reader_url(settings: Settings) -> str:
    """The address of whoever only reads the views: the analyst's, or the writer's where none is set."""
    if settings.analyst_database_url is not None:
        return settings.analyst_database_url.get_secret_value()
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return start(settings.home).url("analyst")


def owner_url(settings: Settings) -> str:
    """The owner's address, of the embedded server where none is set.

    Raises ValueError when an external database is set without its owner's address.
    """
    if settings.owner_database_url is not None:
        return settings.owner_database_url.get_secret_value()
    if settings.database_url is not None:
        raise ValueError(
            "WORDWAVE_DATABASE_URL is set without WORDWAVE_OWNER_DATABASE_URL: this is for the owner's role, "
            "which the flows do not have"
        )
    return start(settings.home).url("owner")


def migrate(settings: Settings) -> str:
    """Brings the database to this version's schema, as its owner; says which one it was."""
    upgrade(owner_url(settings))
    if settings.owner_database_url is not None:
        return "the database of WORDWAVE_OWNER_DATABASE_URL"
    return f"the embedded database in {settings.home}"
