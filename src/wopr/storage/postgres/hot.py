"""Writes what the tables on a server have, as of one moment, to files that DuckDB reads."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from wopr.domain.address import PostgresAddress
from wopr.domain.errors import QueryError, QueryTimeoutError
from wopr.domain.moving import refuse
from wopr.domain.spoken import counted
from wopr.storage.moving.tables import TIME, Columns
from wopr.storage.postgres.connections import CONNECT_SECONDS, Connections, driver, parameters

MOST_BYTES = 1024 * 1024 * 1024
"""So much is copied at most."""

_THERE = "select to_regclass('wopr.meta') is not null"
_MOMENT = "set transaction isolation level repeatable read, read only"
_TIMEOUT = "select set_config('statement_timeout', %s, true)"
_ZONE = "set local timezone = 'UTC'; set local datestyle = 'ISO'"
_META = "select key, value from wopr.meta"


@dataclass(frozen=True, slots=True)
class Written:
    """The rows of a table, as CSV."""

    path: Path
    longest: int
    """Bytes of the longest row."""


class Hot:
    """The tables of a queue, to be copied once.

    Args:
        address: of the database.
        shape: of the tables: their columns.
        since: what was enqueued, happened or was logged then or later; all if ``None``.
        seconds: so long it may take.
    """

    def __init__(
        self,
        address: PostgresAddress,
        shape: Mapping[str, Columns],
        since: date | None,
        seconds: float,
    ) -> None:
        self._address = address
        self._shape = shape
        self._since = since
        self._seconds = seconds
        self._left = MOST_BYTES

    def write(self, folder: Path) -> dict[str, Written] | None:
        """Write a file for each table to a folder; ``None`` if there is no queue.

        Raises:
            QueryError: that would be too much.
            QueryTimeoutError: it takes too long.
            StorageError: the server does not answer, or the queue is elsewhere.
        """
        psycopg = driver()
        said = parameters(
            self._address, connect_timeout=CONNECT_SECONDS, application_name="wopr sql"
        )
        try:
            with psycopg.connect(**said) as connection:
                if not connection.execute(_THERE).fetchone()[0]:
                    return None
                connection.rollback()
                return self._written(connection, folder)
        except psycopg.errors.QueryCanceled as error:
            raise QueryTimeoutError(
                f"To copy what the tables have took longer than {self._seconds:g} s, so it was "
                "given up. Copy less, with --since, or allow more: WOPR_TASKS_QUERY_SECONDS."
            ) from error
        except psycopg.Error as error:
            raise Connections(self._address, 1, CONNECT_SECONDS).failure(error) from error

    def _written(self, connection: Any, folder: Path) -> dict[str, Written]:
        connection.execute(_MOMENT)
        connection.execute(_TIMEOUT, [str(max(1, round(self._seconds * 1000)))])
        connection.execute(_ZONE)
        refuse(dict(connection.execute(_META).fetchall()))
        return {table: self._copied(connection, table, folder) for table in self._shape}

    def _copied(self, connection: Any, table: str, folder: Path) -> Written:
        at = TIME.get(table)
        where = "true" if self._since is None or at is None else f"{at} >= '{self._since}'"
        statement = (
            f"copy (select {', '.join(self._shape[table])} from wopr.{table} where {where}) "
            "to stdout (format csv, force_quote *)"
        )
        path, longest = folder / f"{table}.csv", 0
        with (
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
            open(path, "wb") as file,
        ):
            for row in copy:
                self._left -= len(row)
                if self._left < 0:
                    with contextlib.suppress(Exception):  # it ends with the error that is told
                        connection.cancel()
                    raise self._too_much()
                file.write(row)
                longest = max(longest, len(row))
        return Written(path, longest)

    def _too_much(self) -> QueryError:
        since = "" if self._since is None else f" since {self._since}"
        return QueryError(
            f"The tables in {self._address} have more than {counted(MOST_BYTES >> 20, 'megabyte')}"
            f"{since}, and so much is copied at most to be asked together with the archive. Ask of "
            "what is newer, with --since 7d, or ask each of them by itself: without --together, "
            "and with --archived. What leaves the tables for the archive need not be copied: "
            "wopr archive"
        )
