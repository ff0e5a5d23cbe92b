"""Word of calls in a table of PostgreSQL, for a Celery app without a result backend."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wopr.domain.address import PostgresAddress, database_of
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.integrations.celery.mailbox import Kind, Word

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 5_000
_TABLE = """
select pg_advisory_xact_lock(2026042);
create table if not exists wopr_celery (
    id text primary key,
    kind text,
    word text,
    stop boolean not null default false,
    written_at timestamptz not null default clock_timestamp()
)
"""
_BEGUN = """
insert into wopr_celery (id, kind, word) values (%s, 'begun', %s)
on conflict (id) do update
set kind = excluded.kind, word = excluded.word, written_at = clock_timestamp()
where coalesce(wopr_celery.kind, 'begun') = 'begun'
"""
_ENDED = """
insert into wopr_celery (id, kind, word) values (%s, %s, %s)
on conflict (id) do update
set kind = excluded.kind, word = excluded.word, written_at = clock_timestamp()
"""
_STOP = """
insert into wopr_celery (id, stop) values (%s, true) on conflict (id) do update set stop = true
"""
_LOOK = "select id, kind, word from wopr_celery where id = any(%s) and kind is not null"
_OLD = "delete from wopr_celery where written_at < clock_timestamp() - interval '1 day'"
"""What nobody fetched: of calls that were stopped, and of senders that are gone."""


class PostgresMailbox:
    """A table ``wopr_celery``, made when it is first used, in the database of the queue or another.

    One connection for each process, which is made anew after an error.

    Args:
        address: ``postgresql://user@host/name``.

    Raises:
        InvalidCallError: psycopg is not installed, or it is no such address.
    """

    def __init__(self, address: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise InvalidCallError(
                "PostgresMailbox needs psycopg, which is not installed: pip install "
                "'wopr[postgres]'."
            ) from error
        self._psycopg = psycopg
        found = database_of(address)
        if not isinstance(found, PostgresAddress):
            raise InvalidCallError(
                f"PostgresMailbox() takes the address of a database, like "
                f"postgresql://user@host/name, not {shown(found)}."
            )
        self._conninfo = found.conninfo
        self._lock = threading.Lock()
        self._connection: Connection[Any] | None = None
        self._process = 0

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        """Return what is known of calls, by one question."""
        rows = self._rows(_LOOK, [list(ids)])
        return {id: Word(Kind(kind), word or "") for id, kind, word in rows}

    def begun(self, id: str, text: str) -> None:
        """Write that it runs, unless it has ended."""
        self._rows(_BEGUN, [id, text])

    def done(self, id: str, text: str) -> None:
        """Write the result."""
        self._rows(_ENDED, [id, Kind.DONE.value, text])

    def raised(self, id: str, text: str) -> None:
        """Write the error."""
        self._rows(_ENDED, [id, Kind.RAISED.value, text])

    def stop(self, id: str) -> None:
        """Write that it is to stop, and drop what is older than a day."""
        self._rows(_STOP, [id])
        self._rows(_OLD, [])

    def stopped(self, id: str) -> bool:
        """Whether that was written."""
        return bool(self._rows("select 1 from wopr_celery where id = %s and stop", [id]))

    def forget(self, id: str) -> None:
        """Delete its row."""
        self._rows("delete from wopr_celery where id = %s", [id])

    def close(self) -> None:
        """Close the connection of this process; the next call makes a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _rows(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._lock:
            connection = self._here()
            try:
                cursor = connection.execute(statement.encode(), values)
                return cursor.fetchall() if cursor.description else []
            except self._psycopg.Error:
                if connection.broken or connection.closed:
                    self._connection = None
                raise

    def _here(self) -> Connection[Any]:
        """Return the connection of this process: a forked one has none."""
        if self._connection is None or self._process != os.getpid():
            connection = self._psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                options=f"-c statement_timeout={STATEMENT_MILLISECONDS}",
                application_name="wopr-celery",
            )
            with connection.transaction():
                connection.execute(_TABLE.encode())
            self._connection, self._process = connection, os.getpid()
        return self._connection
