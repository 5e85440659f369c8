"""The analysts' permissions: checks of what this server leaves open, and an end to overdue sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

OPEN_FUNCTIONS = text(
    """
    SELECT 'they may call ' || string_agg(DISTINCT proname, ', ')
    FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
      AND (proname ~ '^(pg_(try_)?advisory_|lo_)' OR proname IN ('loread', 'lowrite', 'txid_current',
        'pg_current_xact_id', 'pg_logical_emit_message', 'pg_export_snapshot', 'pg_notify'))
      AND has_function_privilege('wordwave_analyst', oid, 'EXECUTE')
    """
)
OPEN_DATABASES = text(
    """
    SELECT 'everyone may connect to database ' || string_agg(datname, ', ' ORDER BY datname)
    FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS granted
    WHERE datallowconn AND granted.grantee = 0 AND granted.privilege_type = 'CONNECT'
    """
)
TEMPORARY_TABLES = text(
    """
    SELECT 'they may make temporary tables here'
    WHERE has_database_privilege('wordwave_analyst', current_database(), 'TEMPORARY')
    """
)
NO_LIMIT_OF_CONNECTIONS = text(
    """
    SELECT 'they may take every connection: the role has no CONNECTION LIMIT'
    FROM pg_roles WHERE rolname = 'wordwave_analyst' AND rolconnlimit = -1
    """
)
NO_LIMIT_OF_TEMPORARY_FILES = text(
    """
    SELECT 'their temporary files have no limit: temp_file_limit is not set'
    WHERE current_setting('temp_file_limit') = '-1' AND NOT EXISTS (
      SELECT FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS setting
      WHERE r.rolname = 'wordwave_analyst' AND setting LIKE 'temp_file_limit=%')
    """
)
NOBODY_ENDS_THEIR_STATEMENTS = text(
    """
    SELECT 'nobody can end their statements: wordwave_owner does not belong to wordwave_analyst'
    WHERE NOT pg_has_role('wordwave_owner', 'wordwave_analyst', 'USAGE')
    """
)
GAP_QUERIES = (
    OPEN_FUNCTIONS,
    OPEN_DATABASES,
    TEMPORARY_TABLES,
    NO_LIMIT_OF_CONNECTIONS,
    NO_LIMIT_OF_TEMPORARY_FILES,
    NOBODY_ENDS_THEIR_STATEMENTS,
)


@dataclass(frozen=True)
class EndedSession:
    """An analyst's session that was ended, and the age of its transaction, active or idle."""

    pid: int
    lasted: timedelta
    state: str


def open_gaps(session: Session) -> Sequence[str]:
    """Return the permissions of analysts on this server that db/bootstrap.sql removes."""
    return [gap for question in GAP_QUERIES if (gap := session.scalar(question)) is not None]


def end_overdue(session: Session, longest: timedelta) -> Sequence[EndedSession]:
    """End the analysts' sessions whose transaction is older than `longest`, active or idle, and return
    them.
    """
    rows = session.execute(text("SELECT * FROM public.end_overdue_analysts(:longest)"), {"longest": longest})
    return [EndedSession(*row) for row in rows]
