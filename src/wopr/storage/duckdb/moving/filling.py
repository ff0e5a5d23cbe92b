"""Builds a file for a queue that comes from a server, and puts it in place when it is whole.

What was done is noted in the transaction that does it, so whoever is killed goes on there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from wopr.domain.clock import SystemClock, new_identity
from wopr.domain.errors import StorageFileError, StorageOwnedError
from wopr.domain.moving import MOVING, Moving
from wopr.storage.duckdb.accept import move_aside
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.doctor import check
from wopr.storage.duckdb.failures import told
from wopr.storage.duckdb.file import migrate
from wopr.storage.duckdb.file.connecting import connect, quoted
from wopr.storage.duckdb.file.files import LOG_SUFFIXES, install
from wopr.storage.duckdb.file.location import locate
from wopr.storage.duckdb.file.lock import FileLock
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.largeresults import ENDED_SQL, LARGE
from wopr.storage.duckdb.moving.leaving import moved_from
from wopr.storage.duckdb.moving.reading import FileReader, readable
from wopr.storage.duckdb.moving.shape import shape
from wopr.storage.duckdb.start import open_settled
from wopr.storage.moving.tables import TABLES, WHOLE, Sums, sums

_BUILT = "built.duckdb"
_PROGRESS = "moving_progress"
_LOG_BYTES = 64 * 1024 * 1024
"""So much is in the log of the new file at most before it becomes a part of the file."""
_LEAST_LINE = 2 * 1024 * 1024
_APART = f"(strlen(result) > {LARGE} and status in {ENDED_SQL})"
_WITHOUT = f"* replace (case when not coalesce({_APART}, false) then result end as result)"


class FileFilling:
    """A file that is being built in the folder of the move.

    Args:
        connection: to it.
        path: of it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.reader = FileReader(connection, path.parent)

    def begin(self, moving: Moving) -> Moving:
        """Note that a queue comes here; return the move, which may have been begun before."""
        meta = self.reader.meta()
        if MOVING in meta:
            found = Moving.read(meta[MOVING])
            if (found.source, found.target) == (moving.source, moving.target):
                return found
            for table in (*TABLES, "results", "meta"):
                self._ask(f"delete from {table}")
        self._note(MOVING, moving.text())
        return moving

    @property
    def progress(self) -> dict[str, Any]:
        """How far it came: ``since``, ``table`` and ``after`` of the first round, ``through``."""
        found: dict[str, Any] = json.loads(self.reader.meta().get(_PROGRESS, "{}"))
        return found

    def at(self, progress: Mapping[str, Any]) -> None:
        """Note how far it came."""
        self._note(_PROGRESS, json.dumps(progress))

    def _note(self, key: str, value: str) -> None:
        self._connection.execute("delete from meta where key = ?", [key]).fetchall()
        self._connection.execute("insert into meta values (?, ?)", [key, value]).fetchall()

    # -- rows ---------------------------------------------------------------------

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Have all that is done in a ``with`` block count, or nothing."""
        self._ask("begin")
        try:
            yield
            self._ask("commit")
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # it would hide what went wrong before
                self._ask("rollback")
            raise
        log = beside(self._path, ".wal")
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            self._ask("checkpoint")

    def take(self, table: str, page: Path, longest: int, *, again: bool = False) -> Sums:
        """Add the rows of a page; return the sums of what arrived.

        Args:
            table: of which they are.
            page: has them.
            longest: bytes of the longest.
            again: log lines may be there already.
        """
        source = rows_of(table, page, longest)
        self._ask(f"create or replace temp table arriving as select * from {source}")
        if table != "tasks":
            lacking = "arriving anti join task_logs using (task_id, attempt, number)"
            self._ask(f"insert into {table} select * from {lacking if again else 'arriving'}")
            return self._sums(table)
        self._ask("delete from results where task_id in (select id from arriving)")
        self._ask("delete from tasks where id in (select id from arriving)")
        columns = ", ".join(shape()["tasks"])
        self._ask(f"insert into tasks ({columns}) select {_WITHOUT} from arriving")
        self._ask(f"insert into results select version, id, result from arriving where {_APART}")
        self.say_nul("arriving")
        return self._sums(table)

    def _sums(self, table: str) -> Sums:
        found = Sums()
        found.add(table, self._ask(sums("duckdb", table, shape()[table], "arriving")))
        return found

    def say_nul(self, tasks: str | None = None) -> None:
        """Put NUL where the history of tasks has none: on a server it can't.

        Args:
            tasks: the table of those whose history is here; ``None``: all.
        """
        for column in ("args", "kwargs", "options", "result"):
            where = f"contains({column}, '\\u0000')"
            source = tasks or self.reader.source("tasks", where)
            self._ask(
                f"create or replace temp table escaped as select id, {column} as whole, "
                f"{readable(column)} as part from {source} as given where {where}"
            )
            if self._ask("select 1 from escaped limit 1"):  # else it would look through all
                self._ask(
                    "update transitions set data = replace(data, part, whole) from escaped "
                    "where task_id = id and contains(data, part)"
                )

    def empty(self, table: str) -> None:
        """Delete all rows of one of the small tables."""
        assert table in WHOLE, "the others are large"
        self._ask(f"delete from {table}")

    def delete(self, table: str, where: str) -> None:
        """Delete the rows that meet a condition."""
        self._ask(f"delete from {table} where {where}")

    def keep(self, table: str, where: str, numbers: Iterable[int]) -> None:
        """Delete the rows that meet a condition, but those with these numbers."""
        self._connection.execute(
            f"delete from {table} where {where} and seq not in (select unnest(?::bigint[]))",
            [list(numbers)],
        ).fetchall()
        if table == "tasks":
            self._ask("delete from results where task_id not in (select id from tasks)")

    def settle(self, seq: int) -> None:
        """Let it be a file like any other: with an identity, and no journal."""
        with self.step():
            facts = {"database": new_identity().hex(), "applied": "0", "journal": ""}
            for key, value in {**facts, "seq": str(max(seq, self.reader.seq))}.items():
                self._note(key, value)
        self._ask("checkpoint")

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()


def rows_of(table: str, page: Path, longest: int) -> str:
    """Return the rows of a page, as a table of SQL."""
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in shape()[table].items())
    line = max(_LEAST_LINE, longest + 1)
    return (
        f"read_csv({quoted(page)}, columns = {{{columns}}}, header = false, auto_detect = false, "
        "delim = ',', quote = '\"', escape = '\"', new_line = '\\n', nullstr = '', "
        f"allow_quoted_nulls = false, max_line_size = {line}, buffer_size = {2 * line + 1}, "
        "parallel = false)"
    )


@contextlib.contextmanager
def filled(folder: Path, memory_limit: str) -> Iterator[FileFilling]:
    """Give the file that is built in a folder, made if it is missing, for a ``with`` block."""
    path = folder / _BUILT
    with told(f"{path} can't be written"):
        if not path.exists():
            migrate.create_file(path)
        with connect(path, memory_limit, reach=[folder]) as connection:
            yield FileFilling(connection, path)


def examined(folder: Path, memory_limit: str) -> None:
    """Let a doctor look at the file that was built.

    Raises:
        StorageFileError: something is wrong with it.
    """
    report = check(folder / _BUILT, memory_limit=memory_limit)
    problems = [one for one in report.problems if one.kind != "exposed"]
    if problems:
        raise StorageFileError(
            "What arrived is not in order, so the queue stays where it is. The first problem of "
            f"{len(problems) + report.unlisted:,}: {problems[0]}"
        )


def check_place(target: Path, source: str, memory_limit: str) -> None:
    """Refuse a file that is there, unless it is the one that the queue has left for that server.

    Raises:
        StorageFileError: there is one.
    """
    real = locate(target, create=True)
    if not os.path.lexists(real):
        if segments(real):
            raise StorageFileError(
                f"Beside {real} lies a journal of a file that is gone. Name another file."
            )
        return
    before = moved_from(real, memory_limit)
    if before is None or before.target != source:
        raise StorageFileError(
            f"{real} is there already, and was not touched. Name a file that does not exist."
        )


def placed(folder: Path, target: Path) -> None:
    """Put the file that was built in its place; nobody opens it before the move has ended."""
    real = locate(target, create=True)
    lock = FileLock(real)
    lock.acquire()
    try:
        if os.path.lexists(real):
            move_aside(real, [real], SystemClock())
        for suffix in LOG_SUFFIXES:
            beside(folder / _BUILT, suffix).unlink(missing_ok=True)
        install(folder / _BUILT, real)
    finally:
        lock.release()


def taken_back(folder: Path, target: Path, moving: Moving, memory_limit: str) -> None:
    """Go on with a file that was in its place when the move was broken off."""
    real = locate(target, create=True)
    if not os.path.lexists(real):
        return
    found = _meta(real, memory_limit).get(MOVING)
    if found is not None and Moving.read(found).source == moving.source:
        os.replace(real, folder / _BUILT)


def arrived(target: Path, moving: Moving, memory_limit: str) -> None:
    """Let queues work on a file: the server says that it is the home now.

    Raises:
        QueueMovedError: it has been for a while.
    """
    try:
        opened = open_settled(target, memory_limit=memory_limit, coming=True)
    except StorageOwnedError:
        return  # somebody works on it
    try:
        opened.connection.execute(
            "delete from meta where key in (?, ?) and exists "
            "(select 1 from meta where key = ? and value = ?)",
            [MOVING, _PROGRESS, MOVING, moving.text()],
        ).fetchall()
        opened.checkpoint()
    finally:
        opened.close()


def _meta(path: Path, memory_limit: str) -> dict[str, str]:
    try:
        opened = open_settled(path, memory_limit=memory_limit, coming=True)
    except StorageOwnedError:
        return {}
    try:
        return dict(opened.connection.execute("select key, value from meta").fetchall())
    finally:
        opened.close()
