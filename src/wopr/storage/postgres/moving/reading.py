"""Reads the tables on a server into pages that DuckDB takes as they are.

A page is a CSV file: the server writes it and DuckDB reads it. Its rows and their sums are of
one moment; rows that change afterwards have a higher number, and are read once more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wopr.domain.moving import MOVED, Moving
from wopr.storage.moving.tables import Columns, Sums, Tell, counts, silent, sums
from wopr.storage.postgres.moving.locking import Locking
from wopr.storage.postgres.moving.marks import GUARDED, KEEP, KEEPING_LOCK, LET_GO, guards

T = TypeVar("T")

PAGE_BYTES = 32 * 1024 * 1024
_FIRST = 2_000
_MOST = 250_000
_GROWTH = 8

AGAIN_SECONDS = 0.3
"""So long others go first, who waited behind us for a lock that we did not get."""
LEAVE_SECONDS = 15
"""So long hosts claim nothing, unless they are told anew."""
_LEAVING = f"""
insert into wopr.meta (key, value)
values ('leaving', (clock_timestamp() + interval '{LEAVE_SECONDS} seconds')::text)
on conflict (key) do update set value = excluded.value
"""
LARGE = ("tasks", "transitions", "task_logs")
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
        tell: is told for whom it waits.
    """

    def __init__(
        self, connection: Any, shape: dict[str, Columns], folder: Path, tell: Tell = silent
    ) -> None:
        self._connection = connection
        self._locking = Locking(connection, tell)
        self._shape = shape
        self._path = folder / "page"

    def there(self) -> bool:
        """Whether there are the tables of a queue."""
        [(found,)] = self._rows("select to_regclass('wopr.meta') is not null")
        return bool(found)

    def meta(self) -> dict[str, str]:
        """Return the facts about the database."""
        return dict(self._rows("select key, value from wopr.meta"))

    def seq(self) -> int:
        """Return a number that all changes have reached that were made by now."""
        statement = "lock table wopr.tasks, wopr.transitions in share mode"
        return self._locked(statement, self.last, nothing)

    def _locked(self, statement: str, then: Callable[[], T], meanwhile: Callable[[], object]) -> T:
        """Do something in a transaction that has locked the large tables, once nobody uses them.

        Raises:
            StorageError: somebody does for too long.
        """
        self._locking.begin()
        while True:
            self._locking.wait(LARGE, meanwhile)
            with self._connection.transaction():
                if self._locking.got(statement):
                    return then()
            meanwhile()
            time.sleep(AGAIN_SECONDS)

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

    def leave(self, switch: Callable[[], bool]) -> bool:
        """Do something while all changes wait; what it does here is undone if it fails."""
        tables = ", ".join(f"wopr.{one}" for one in GUARDED if one != "owners")
        return self._locked(f"lock table {tables} in exclusive mode", switch, self.running)

    def wait(self) -> None:
        """Return once no long transaction of others is in the way."""
        self._locking.begin()
        self._locking.wait(LARGE, nothing)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Have nothing deleted, and new log lines noted, for a ``with`` block."""
        self._locked(
            "lock table wopr.tasks, wopr.transitions, wopr.task_logs in share row exclusive mode",
            lambda: self._connection.execute(KEEP),
            nothing,
        )
        self._locking.alone(KEEPING_LOCK)
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # what is left does nothing without the lock
                self._connection.execute(LET_GO)
            raise
        finally:
            with contextlib.suppress(Exception):  # a connection that broke has let go of it
                self._connection.execute("select pg_advisory_unlock(%s)", [KEEPING_LOCK])

    def changed(self, through: int) -> str:
        """Return the condition for tasks that have changed behind a number, or run.

        The history says which: there is an index of it, and of the tasks' versions there is none.
        """
        return (
            f"id = any(array(select task_id from wopr.transitions where seq > {through} "
            "union select id from wopr.tasks where status = 'started'))"
        )

    def late_lines(self) -> str:
        """Return the condition for the log lines that came since :meth:`kept` began."""
        self._connection.execute("analyze wopr.late_lines")
        return (
            "(task_id, attempt, number) in (select task_id, attempt, number from wopr.late_lines)"
        )

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


def nothing() -> None:
    """Do nothing."""


def _literals(key: list[Any]) -> str:
    """Return the values of a key, numbers and ids, as SQL."""
    return ", ".join(str(one) if isinstance(one, int) else f"'{one}'::uuid" for one in key)
