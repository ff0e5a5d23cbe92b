"""Reads the tables on a server into pages that DuckDB takes as they are.

A page is a CSV file: the server writes it and DuckDB reads it. Its rows and their sums are of
one moment; rows that change afterwards have a higher number, and are read once more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wopr.domain.errors import StorageError
from wopr.domain.moving import MOVED, Moving
from wopr.storage.moving.tables import Columns, Sums, counts, sums
from wopr.storage.postgres.connections import driver
from wopr.storage.postgres.moving.marks import GUARDED, guards

PAGE_BYTES = 32 * 1024 * 1024
_FIRST = 2_000
_MOST = 250_000
_GROWTH = 8

LOCK_SECONDS = 3
"""So long tables are waited for that somebody uses; then these go first, and it is tried again."""
MOST_TRIES = 20
LEAVE_SECONDS = 15
"""So long hosts claim nothing, unless they are told anew."""
_LEAVING = f"""
insert into wopr.meta (key, value)
values ('leaving', (clock_timestamp() + interval '{LEAVE_SECONDS} seconds')::text)
on conflict (key) do update set value = excluded.value
"""
_KEYS = {"tasks": "seq", "transitions": "seq", "task_logs": "task_id, attempt, number"}
"""By what the large tables are read."""


@dataclass(frozen=True, slots=True)
class ServerPage:
    """Some rows of a table, in a file."""

    path: Path
    rows: int
    longest: int
    """Bytes of the longest row."""
    last: list[Any]
    """The key of the last row."""
    sums: Sums


class ServerReader:
    """What a database has.

    Args:
        connection: for this alone.
        shape: of the tables: their columns.
        folder: for pages, one at a time.
    """

    def __init__(self, connection: Any, shape: dict[str, Columns], folder: Path) -> None:
        self._connection = connection
        self._shape = shape
        self._path = folder / "page"

    def meta(self) -> dict[str, str]:
        """Return the facts about the database."""
        return dict(self._rows("select key, value from wopr.meta"))

    def seq(self) -> int:
        """Return a number that all changes have reached that were made by now."""
        with self._connection.transaction():
            self._lock("lock table wopr.tasks, wopr.transitions in share mode")
            return self.last()

    def _lock(self, statement: str) -> None:
        """Lock tables; who uses one for long goes first, since all others would wait behind us.

        Raises:
            StorageError: it is in use again and again.
        """
        for _ in range(MOST_TRIES):
            if self._got(statement):
                return
            time.sleep(LOCK_SECONDS / 10)
        raise _in_use()

    def _got(self, statement: str) -> bool:
        """Whether tables could be locked."""
        self._connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
        errors = driver().errors
        with contextlib.suppress(errors.LockNotAvailable, errors.DeadlockDetected):
            with self._connection.transaction():
                self._connection.execute(statement)
            return True
        return False

    def last(self) -> int:
        """Return the last number, while all changes wait."""
        [(last,)] = self._rows("select last_value from wopr.numbers")
        return int(last)

    def rows(self) -> dict[str, int]:
        """Return how many rows there are, by table."""
        return {
            table: int(self._rows(f"select count(*) from wopr.{table}")[0][0])
            for table in self._shape
        }

    def pages(
        self, table: str, where: str = "true", after: list[Any] | None = None
    ) -> Iterator[ServerPage]:
        """Write the rows of a table that meet a condition; each page ends the one before."""
        key, count = _KEYS.get(table), _FIRST
        while True:
            condition = where if not after else f"{where} and ({key}) > ({_literals(after)})"
            with self.moment():
                page = self._page(table, condition, key, count)
            if page is None:
                break
            yield page
            if key is None:
                break
            after = page.last
            size = self._path.stat().st_size
            count = max(1, min(count * PAGE_BYTES // max(size, 1), count * _GROWTH, _MOST))
        self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def moment(self) -> Iterator[None]:
        """Read what is there at one moment, for a ``with`` block, or in the one around it."""
        if self._connection.info.transaction_status.name == "INTRANS":
            yield
            return
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read, read only")
            yield

    def _page(self, table: str, where: str, key: str | None, count: int) -> ServerPage | None:
        last: list[Any] = []
        if key is not None:
            bounds = f"select {key} from wopr.{table} where {where} order by {key} limit {count}"
            backwards = ", ".join(f"{one} desc" for one in key.split(", "))
            found = self._rows(f"select * from ({bounds}) as page order by {backwards} limit 1")
            if not found:
                return None
            last = [str(one) if not isinstance(one, int) else one for one in found[0]]
            where = f"{where} and ({key}) <= ({_literals(last)})"
        rows, longest = self._write(table, where)
        return ServerPage(self._path, rows, longest, last, self.sums(table, where))

    def _write(self, table: str, where: str) -> tuple[int, int]:
        columns = ", ".join(self._shape[table])
        rows = longest = 0
        statement = (
            f"copy (select {columns} from wopr.{table} where {where}) "
            "to stdout (format csv, force_quote *)"
        )
        with (
            self._connection.cursor() as cursor,
            cursor.copy(statement) as copy,
            open(self._path, "wb") as file,
        ):
            for row in copy:
                file.write(row)
                rows += 1
                longest = max(longest, len(row))
        return rows, longest

    def sums(self, table: str, where: str = "true") -> Sums:
        """Return the sums of the rows that meet a condition."""
        found = Sums()
        source = f"(select * from wopr.{table} where {where})"
        found.add(table, self._rows(sums("postgres", table, self._shape[table], source)))
        return found

    def counts(self, table: str) -> dict[int, int]:
        """Return how many rows have numbers near each other."""
        return dict(self._rows(counts(f"wopr.{table}")))

    def numbers(self, table: str, where: str) -> list[int]:
        """Return the numbers of the rows that meet a condition."""
        return [seq for (seq,) in self._rows(f"select seq from wopr.{table} where {where}")]

    def hours(self) -> dict[Any, int]:
        """Return how many lines were logged, by hour."""
        return dict(
            self._rows(
                "select date_trunc('hour', logged_at), count(*) from wopr.task_logs group by 1"
            )
        )

    # -- the pause ----------------------------------------------------------------

    def running(self) -> int:
        """Have hosts claim nothing for a while; return how many tasks run."""
        self._connection.execute(_LEAVING)
        [(count,)] = self._rows("select count(*) from wopr.tasks where status = 'started'")
        return int(count)

    def stay(self) -> None:
        """Let hosts claim again: the queue does not leave."""
        self._connection.execute("delete from wopr.meta where key = 'leaving'")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have all changes wait, for a ``with`` block; what it does is undone if it fails."""
        tables = ", ".join(f"wopr.{one}" for one in GUARDED if one != "owners")
        for _ in range(MOST_TRIES):
            self.running()  # nothing is claimed while it waits, however long that takes
            with self._connection.transaction():
                if self._got(f"lock table {tables} in exclusive mode"):
                    yield
                    return
            time.sleep(LOCK_SECONDS / 10)
        raise _in_use()

    def mark(self, moving: Moving) -> None:
        """Say that the queue is elsewhere; counts at the end of :meth:`held`."""
        self._connection.execute("delete from wopr.meta where key = 'leaving'")
        self._connection.execute(
            "insert into wopr.meta (key, value) values (%s, %s)", [MOVED, moving.text()]
        )
        for statement in guards():
            self._connection.execute(statement)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            found: list[tuple[Any, ...]] = cursor.execute(statement).fetchall()
            return found


def _in_use() -> StorageError:
    """Return the error that the tables can't be locked."""
    return StorageError(
        "The tables of the queue are in use by long transactions, so it can't move. The queue "
        "stays where it is. End these (see pg_stat_activity), then run the move again."
    )


def _literals(key: list[Any]) -> str:
    """Return the values of a key, numbers and ids, as SQL."""
    return ", ".join(str(one) if isinstance(one, int) else f"'{one}'::uuid" for one in key)
