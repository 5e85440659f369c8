"""The page of the database: tables from the models, views and functions from a migrated Postgres."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from sqlalchemy import Column, NullPool, Table, create_engine, text
from sqlalchemy.dialects import postgresql

import db.models  # noqa: F401  # the tables register themselves
from db.base import Base
from docs.generator.markdown import code, escaped, table

INTRODUCTION = """# Tables and views

Analysts read the views of schema `analytics`. Tables are for the flows; they may change with any version.
"""
VIEW_COLUMNS = text(
    """
    SELECT c.relname, obj_description(c.oid), a.attname, format_type(a.atttypid, a.atttypmod),
      col_description(c.oid, a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind = 'v'
    ORDER BY c.relname, a.attnum
    """
)


FUNCTIONS = text(
    """
    SELECT p.proname, pg_get_function_arguments(p.oid), obj_description(p.oid, 'pg_proc')
    FROM pg_proc p WHERE p.pronamespace = 'analytics'::regnamespace ORDER BY p.proname
    """
)


def schema_page(database_url: str) -> str:
    """Return the page of views and tables; the database must be at the newest schema."""
    return "\n".join(
        [
            INTRODUCTION,
            *_views(database_url),
            *_functions(database_url),
            *map(_table, Base.metadata.sorted_tables),
        ]
    )


def _views(database_url: str) -> Iterator[str]:
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        columns = connection.execute(VIEW_COLUMNS).tuples().all()
    for (name, comment), group in groupby(columns, key=lambda column: column[:2]):
        rows = [(code(column), code(kind), escaped(note or "")) for _, _, column, kind, note in group]
        yield f"## analytics.{name}\n\n{escaped(comment or '')}\n\n" + table(("column", "type", ""), rows)


def _functions(database_url: str) -> Iterator[str]:
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        found = connection.execute(FUNCTIONS).tuples().all()
    rows = [(code(f"{name}({arguments})"), escaped(comment or "")) for name, arguments, comment in found]
    yield "## Functions\n\n" + table(("function of analytics", ""), rows)


def _table(described: Table) -> str:
    rows = [_row(column) for column in described.columns]
    head = f"## {described.name}\n\n{escaped(_purpose(described))}\n\n"
    return head + table(("column", "type", "null", "refers to"), rows)


def _row(column: "Column[object]") -> Sequence[str]:
    refers = ", ".join(code(key.target_fullname) for key in column.foreign_keys)
    kind = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
    return code(column.name), code(kind), "yes" if column.nullable else "", refers


def _purpose(described: Table) -> str:
    """Return the first sentence of the model's docstring."""
    model = next(mapper for mapper in Base.registry.mappers if mapper.local_table is described)
    return (model.class_.__doc__ or "").strip().split("\n\n")[0]
