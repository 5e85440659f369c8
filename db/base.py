"""The declarative base: fixed constraint names, and one Postgres type per Python type."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    TypeDecorator,
    Uuid,
    any_,
    cast,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, QueryableAttribute


class Base(DeclarativeBase):
    """Base class of all tables. No relationships: a query states its joins."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        str: Text,
        bytes: LargeBinary,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        UUID: Uuid,
    }


class SmallIntegers(TypeDecorator[list[int]]):
    """smallint[] that is sent as the text of an array, '{1,2}'.

    The driver would send a list as an expression, which takes the server four times as long to parse.
    """

    impl = ARRAY(SmallInteger)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Sequence[int] | None], str | None]:
        """Return the conversion of a value to text."""
        return lambda numbers: None if numbers is None else array_text(numbers)


class Integers(SmallIntegers):
    """integer[], sent in the same way."""

    impl = ARRAY(Integer)
    cache_ok = True


def among(
    column: QueryableAttribute[Any], values: Collection[bytes] | Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that a column is one of the values: one parameter, however many there are."""
    return column == any_(cast(sorted(values), ARRAY(column.type)))


def array_text(numbers: Sequence[float]) -> str:
    """Return numbers as the text of a Postgres array; nine digits name each number of single precision."""
    number = "%d" if all(isinstance(one, int) for one in numbers) else "%.9g"
    return f"{{{','.join([number] * len(numbers))}}}" % tuple(numbers)
