"""The address under which people open the pages, for links to them in views."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import ExploreAddress


def keep_address(session: Session, url: str | None) -> None:
    """Keep the address for links, unless it is None or kept already."""
    if url is None:
        return
    stored = ExploreAddress
    session.execute(
        insert(stored)
        .values(url=url)
        .on_conflict_do_update(index_elements=[stored.is_current], set_={"url": url}, where=stored.url != url)
    )
