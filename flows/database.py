"""Which Postgres the flows write to: the one of the settings, else the embedded one, at the newest schema."""

from db.embedded import start
from flows.settings import Settings
from migrations.upgrade import upgrade


def writer_url(settings: Settings) -> str:
    """The writer's address. The embedded server is started and migrated here; an external one by `wordwave
    migrate`, as its owner."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    server = start(settings.home)
    upgrade(server.url("owner"))
    return server.url("writer")
