"""Fills the tables on a server with a queue that comes from a file.

Until the move has ended, ``wopr.meta`` says so, and no queue opens them. What was done is noted
in the transaction that does it, so whoever is killed meanwhile goes on there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wopr.domain.address import PostgresAddress
from wopr.domain.errors import StorageError
from wopr.domain.moving import MOVED, MOVING, Moving
from wopr.storage.moving.tables import TABLES, WHOLE, Columns, Sums, counts, sums
from wopr.storage.postgres.connections import (
    CONNECT_SECONDS,
    SILENCE_SECONDS,
    Connections,
    driver,
    parameters,
)

_CHUNK = 1024 * 1024
_PROGRESS = "moving_progress"
_INDEXES = "moving_indexes"
_NOTES = (_PROGRESS, _INDEXES)
_LOCK = 0x776F7074
"""Of PostgreSQL's advisory locks: held by whoever moves a queue to, or from, the database."""

_SECONDARY = """
select indexname, indexdef from pg_indexes
where schemaname = 'wopr' and not exists (
    select from pg_constraint where conindid = format('wopr.%I', indexname)::regclass
)
"""
_AWAITS = """
insert into wopr.awaits (parent_id, child_id)
select distinct parent.id, tasks.id
from wopr.tasks
cross join lateral json_array_elements_text(depends_on::json) as named (id)
join wopr.tasks as parent on parent.id = named.id::uuid
where tasks.waiting and tasks.status = 'pending' and tasks.depends_on is not null
    and parent.status in ('pending', 'started', 'retry')
"""
_WERE_AWAITED = """
create temp table were_awaited on commit drop as select distinct parent_id from wopr.awaits
"""
_AWAITED = """
update wopr.tasks set awaited = now.awaited
from (
    select coalesce(were.parent_id, awaits.parent_id) as id, awaits.parent_id is not null as awaited
    from were_awaited as were
    full join (select distinct parent_id from wopr.awaits) as awaits using (parent_id)
) as now
where tasks.id = now.id and tasks.awaited <> now.awaited
"""
"""It looks at nobody but those who were awaited, or are now."""

_HEARD = f"""
set tcp_keepalives_idle = {SILENCE_SECONDS // 2};
set tcp_keepalives_interval = 1;
set tcp_keepalives_count = {SILENCE_SECONDS // 2};
set tcp_user_timeout = '{SILENCE_SECONDS}s'
"""
"""Where the machine that moves a queue is gone, the server lets go of its locks as soon."""


@contextlib.contextmanager
def told(address: PostgresAddress) -> Iterator[None]:
    """Turn the errors of the server into ours, for a ``with`` block."""
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        raise Connections(address, 1, CONNECT_SECONDS).failure(error) from error


def connect(address: PostgresAddress) -> Any:
    """Return a connection for moving, alone at it.

    Raises:
        StorageError: the server can't be reached, or somebody moves a queue there already.
    """
    psycopg = driver()
    if address.pooler == "transaction":
        raise StorageError(
            f"A queue moves over connections that are its own, and {address} is that of a pooler "
            "in transaction mode. Give the address of the server itself."
        )
    with told(address):
        said = parameters(address, connect_timeout=CONNECT_SECONDS, application_name="wopr move")
        connection = psycopg.connect(**said, autocommit=True)
        try:
            [(alone,)] = connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchall()
            if not alone:
                raise StorageError(
                    f"Another `wopr move` is at work in {address}. Wait for it, or stop it: it "
                    "can be gone on with at any time."
                )
            connection.execute("set datestyle = 'ISO'; set timezone = 'UTC'")
            connection.execute(_HEARD)
        except BaseException:
            connection.close()
            raise
    return connection


def set_aside(address: PostgresAddress, moving: Moving) -> None:
    """Make room where this queue was before it moved to the home that it leaves now."""
    with contextlib.closing(connect(address)) as connection, told(address):
        [(there,)] = connection.execute("select to_regclass('wopr.meta') is not null").fetchall()
        if not there:
            return
        rows = connection.execute("select value from wopr.meta where key = %s", [MOVED]).fetchall()
        left = [Moving.read(text) for (text,) in rows]
        if [(one.target, one.host) for one in left] == [(moving.source, moving.host)]:
            connection.execute(f"alter schema wopr rename to wopr_before_{moving.id[:12]}")


class Filling:
    """Tables that are being filled.

    Args:
        connection: of :func:`connect`; the tables are there.
        shape: of the tables: their columns.
    """

    def __init__(self, connection: Any, shape: Mapping[str, Columns]) -> None:
        self._connection = connection
        self._shape = shape

    # -- where it stands ------------------------------------------------------

    def begin(self, moving: Moving) -> Moving:
        """Note that a queue comes here; return the move, which may have been begun before.

        Raises:
            StorageError: another one comes, or is here.
        """
        meta = self._meta()
        if MOVING in meta:
            found = Moving.read(meta[MOVING])
            if (found.source, found.host) != (moving.source, moving.host):
                raise found.half()
            return found
        self._refuse_rows(moving)
        secondary = dict(self._rows(_SECONDARY))
        with self._connection.transaction():
            self._note(MOVING, moving.text())
            self._note(_INDEXES, json.dumps(list(secondary.values())))
            for name in secondary:
                self._connection.execute(f'drop index wopr."{name}"')
        return moving

    def _refuse_rows(self, moving: Moving) -> None:
        for table in (*TABLES, "owners"):
            if self._rows(f"select from wopr.{table} limit 1"):
                raise StorageError(
                    f"{moving.target} has a queue already: there are rows in wopr.{table}. Name "
                    "an empty database, or delete that queue, if nobody needs it any more: "
                    "drop schema wopr cascade"
                )

    @property
    def progress(self) -> dict[str, Any]:
        """How far it came: ``copy``, ``table`` and ``next`` of the first round, ``through``."""
        found: dict[str, Any] = json.loads(self._meta().get(_PROGRESS, "{}"))
        return found

    def _set(self, progress: Mapping[str, Any]) -> None:
        self._note(_PROGRESS, json.dumps(progress))

    def _note(self, key: str, value: str) -> None:
        self._connection.execute(
            "insert into wopr.meta (key, value) values (%s, %s) "
            "on conflict (key) do update set value = excluded.value",
            [key, value],
        )

    def _meta(self) -> dict[str, str]:
        return dict(self._rows("select key, value from wopr.meta"))

    # -- the first round --------------------------------------------------------

    def clear(self, copy: str) -> None:
        """Begin anew with a copy of the file."""
        with self._connection.transaction():
            self._connection.execute(f"truncate {', '.join(f'wopr.{one}' for one in TABLES)}")
            self._set({"copy": copy, "table": TABLES[0], "next": 0})

    def take(self, table: str, page: Path, progress: Mapping[str, Any]) -> None:
        """Add a page, and note it, in one step."""
        with self._connection.transaction():
            self._connection.execute("set local synchronous_commit = off")
            self._copy(f"wopr.{table}", table, page)
            self._set(progress)

    def at(self, progress: Mapping[str, Any]) -> None:
        """Note how far it came."""
        self._set(progress)

    def index(self) -> None:
        """Make the indexes that were not there while the tables were filled."""
        for definition in json.loads(self._meta().get(_INDEXES, "[]")):
            again = definition.replace(" INDEX ", " INDEX IF NOT EXISTS ", 1)
            self._connection.execute(again)
        self._connection.execute("vacuum (analyze) wopr.tasks")
        self._connection.execute("vacuum (analyze) wopr.transitions")

    # -- what has changed since ---------------------------------------------------

    @contextlib.contextmanager
    def round(self) -> Iterator[None]:
        """Have all that is done in a ``with`` block count, or nothing."""
        with self._connection.transaction():
            self._connection.execute(
                "create temp table arriving (like wopr.tasks including defaults including "
                "generated) on commit drop"
            )
            yield

    def stage(self, page: Path) -> None:
        """Hold tasks ready that are new, or changed."""
        self._copy("arriving", "tasks", page)

    def replace(self) -> None:
        """Put the tasks that are held ready in the place of what they were."""
        columns = ", ".join(self._shape["tasks"])
        self._connection.execute("create index on arriving (id)")
        self._connection.execute("analyze arriving")
        self._connection.execute(
            "delete from wopr.tasks using arriving where tasks.id = arriving.id"
        )
        self._connection.execute(
            f"insert into wopr.tasks ({columns}) select {columns} from arriving"
        )

    def append(self, table: str, page: Path) -> None:
        """Add rows."""
        self._copy(f"wopr.{table}", table, page)

    def empty(self, table: str) -> None:
        """Delete all rows of one of the small tables."""
        assert table in WHOLE, "the others are large"
        self._connection.execute(f"delete from wopr.{table}")

    def index_lines(self) -> None:
        """Have lines found by their time, so long as they arrive."""
        self._connection.execute(
            "create index if not exists moving_lines on wopr.task_logs (logged_at)"
        )

    def forget_lines(self, where: str) -> None:
        """Delete the lines that meet a condition."""
        self._connection.execute(f"delete from wopr.task_logs where {where}")

    def keep(self, table: str, where: str, numbers: Iterable[int]) -> int:
        """Delete the rows that meet a condition, but those with these numbers; how many."""
        cursor = self._connection.execute(
            f"delete from wopr.{table} where {where} and not seq = any(%s::bigint[])",
            [list(numbers)],
        )
        return int(cursor.rowcount)

    def through(self, seq: int) -> None:
        """Note that all up to a number is here."""
        self._set({"through": seq})

    # -- what is here ---------------------------------------------------------------

    def sums(self, table: str, where: str = "true") -> Sums:
        """Return the sums of the rows that meet a condition."""
        return self._sums(table, f"(select * from wopr.{table} where {where})")

    def staged(self) -> Sums:
        """Return the sums of the tasks that are held ready."""
        return self._sums("tasks", "arriving")

    def _sums(self, table: str, source: str) -> Sums:
        found = Sums()
        found.add(table, self._rows(sums("postgres", table, self._shape[table], source)))
        return found

    def counts(self, table: str, where: str = "true") -> dict[int, int]:
        """Return how many rows that meet a condition have numbers near each other."""
        return dict(self._rows(counts(f"wopr.{table}", where)))

    def hours(self) -> dict[Any, int]:
        """Return how many lines were logged, by hour."""
        return dict(
            self._rows(
                "select date_trunc('hour', logged_at), count(*) from wopr.task_logs group by 1"
            )
        )

    # -- the end ----------------------------------------------------------------------

    def connect_tasks(self) -> None:
        """Let those that wait for others be let go by them."""
        with self._connection.transaction():
            self._connection.execute(_WERE_AWAITED)
            self._connection.execute("delete from wopr.awaits")
            self._connection.execute(_AWAITS)
            self._connection.execute(_AWAITED)

    def settle(self, seq: int) -> None:
        """Go on with the numbers behind the last one."""
        self._connection.execute("select setval('wopr.numbers', %s)", [max(seq, 1)])
        self._connection.execute(
            "update wopr.meta set value = (value::bigint + 1)::text where key = 'rules'"
        )

    def ready(self) -> None:
        """Have all as queues expect it."""
        self._connection.execute("drop index if exists wopr.moving_lines")

    def open_up(self, moving: Moving) -> None:
        """Let queues work here: this is the home now.

        Raises:
            QueueMovedError: it has been for a while.
        """
        meta = self._meta()
        if MOVING not in meta or Moving.read(meta[MOVING]).id != moving.id:
            raise moving.gone()
        self._connection.execute("delete from wopr.meta where key = any(%s)", [[MOVING, *_NOTES]])

    def rows(self) -> dict[str, int]:
        """Return how many rows there are, by table."""
        return {
            table: int(self._rows(f"select count(*) from wopr.{table}")[0][0]) for table in TABLES
        }

    def _copy(self, into: str, table: str, page: Path) -> None:
        columns = ", ".join(self._shape[table])
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"copy {into} ({columns}) from stdin") as copy,
            open(page, "rb") as file,
        ):
            while chunk := file.read(_CHUNK):
                copy.write(chunk)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            found: list[tuple[Any, ...]] = cursor.execute(statement).fetchall()
            return found
