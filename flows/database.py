"""Which Postgres the flows write to: the one of the settings, else the embedded one, at the newest schema."""

from db.embedded import start
from flows.settings import Settings
from migrations.upgrade import upgrade


def writer_url(settings: Settings) -> str:
    """The writer's address. The embedded server is started and migrated on the way."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    server = start(settings.home)
    upgrade(server.url("owner"))
    return server.url("writer")


def migrate(settings: Settings) -> str:
    """Brings the database to this version's schema, as its owner; says which one it was.

    Raises ValueError when an external database is set without its owner's address.
    """
    if settings.owner_database_url is not None:
        upgrade(settings.owner_database_url.get_secret_value())
        return "the database of WORDWAVE_OWNER_DATABASE_URL"
    if settings.database_url is not None:
        raise ValueError(
            "WORDWAVE_DATABASE_URL is set without WORDWAVE_OWNER_DATABASE_URL: the schema is changed by the "
            "owner's role, which the flows do not have"
        )
    upgrade(start(settings.home).url("owner"))
    return f"the embedded database in {settings.home}"
