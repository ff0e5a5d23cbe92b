"""The check behind ``wopr doctor`` of tables on a server: of one moment, beside hosts at work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from wopr.domain.address import PostgresAddress
from wopr.domain.errors import SchemaError
from wopr.domain.examination import Examining, Progress, Report, Row, silent
from wopr.domain.schedule import COLUMNS as SCHEDULE_COLUMNS
from wopr.domain.task import COLUMNS
from wopr.domain.written import TRANSITION_COLUMNS
from wopr.storage.postgres.connections import CONNECT_SECONDS, Connections
from wopr.storage.postgres.rows import readable

AT_ONCE = 2_000
"""Rows that are fetched together,"""
TOLD_EVERY = 10_000
"""and transitions after which it is told how far it is."""
LOST_SECONDS = 30
"""So long after the end of a lease nothing of it runs any more, where hosts are open."""
_JSON_AT = [COLUMNS.index(name) for name in ("args", "kwargs", "options", "result")]

_NOW = "select clock_timestamp(), to_regclass('wopr.meta') is not null"
_NUMBERS = """
select (select last_value from wopr.numbers), coalesce(max(seq), 0), count(*) from wopr.transitions
"""
_TASKS = f"select {', '.join(COLUMNS)} from wopr.tasks order by id"
_LOG = f"select {TRANSITION_COLUMNS} from wopr.transitions order by task_id, seq"
_KEYS = """
select unique_key, array_agg(id order by seq) from wopr.tasks
where unique_key is not null and status in ('pending', 'started', 'retry')
group by unique_key having count(*) > 1 order by unique_key
"""
_RULES = "select kind, name, value, updated_at from wopr.rules order by kind, name"
_SCHEDULES = f"select {', '.join(SCHEDULE_COLUMNS)} from wopr.schedules order by name"
_AWAITS = """
select awaits.child_id, awaits.parent_id, parents.status, parents.awaited
from wopr.awaits left join wopr.tasks as parents on parents.id = awaits.parent_id
where parents.id is null or not parents.awaited
    or parents.status in ('success', 'failed', 'cancelled')
order by awaits.child_id
"""
"""For whom do tasks wait that won't let go of them?"""
_FOR_NOBODY = """
select id, depends_on from wopr.tasks
where status = 'pending' and waiting and depends_on is not null
    and error_type is distinct from 'DoesNotFit'
    and not exists (select from wopr.awaits where child_id = tasks.id)
order by id
"""
_LOST = """
select tasks.id, tasks.worker, owners.lease_until
from wopr.tasks left join wopr.owners on owners.id = tasks.owner
where tasks.status = 'started'
    and coalesce(owners.lease_until, '-infinity')
        < clock_timestamp() - %(seconds)s * interval '1 second'
    and tasks.started_at
        < (clock_timestamp() - %(seconds)s * interval '1 second') at time zone 'utc'
    and exists (select from wopr.owners where lease_until > clock_timestamp())
order by tasks.id
"""
_INVALID = """
select indexrelid::regclass::text from pg_index
join pg_class on pg_class.oid = indrelid
where relnamespace = 'wopr'::regnamespace and not (indisvalid and indisready)
"""


def check(
    address: PostgresAddress, *, progress: Progress = silent, limit: int = 1_000
) -> tuple[Report, datetime]:
    """Check the tables of a queue; return what was found, and of which moment that is.

    It reads all rows on one connection, in a transaction that can't write.

    Args:
        address: of the database.
        progress: called now and then with the transitions done and in all.
        limit: so many problems are listed, the others are counted.

    Raises:
        SchemaError: there is no queue in the database.
        StorageError: it can't be reached, or read.
    """
    connections = Connections(address, 1, CONNECT_SECONDS)
    try:
        with _connected(address) as connection:
            [(moment, there)] = connection.execute(_NOW).fetchall()
            if not there:
                raise SchemaError(
                    f"There is no queue in {address}: the database has no tables of one. See that "
                    "its name is the right one. A worker, or an application, makes them with its "
                    f"first task; so does: wopr db upgrade -d {shlex.quote(address.named)}"
                )
            return Examination(connection, progress, limit).run(), moment
    except connections.errors as error:
        raise connections.failure(error) from error


def _connected(address: PostgresAddress) -> Any:
    import psycopg

    connection = psycopg.connect(
        address.conninfo, connect_timeout=CONNECT_SECONDS, application_name="wopr doctor"
    )
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    return connection


class Examination(Examining):
    """One examination of the tables of one moment."""

    def __init__(self, connection: Any, progress: Progress, limit: int) -> None:
        super().__init__(limit)
        self._connection = connection
        self._progress = progress
        self._total = 0

    def run(self) -> Report:
        """Look at everything."""
        self._check_numbers()
        self._merge(self._rows(), self._log())
        self._progress(self._total, self._total)
        self._check_keys(self._ask(_KEYS))
        self._check_waits()
        self._check_leases()
        self._check_settings(self._ask(_RULES), self._ask(_SCHEDULES))
        for (name,) in self._ask(_INVALID):
            text = f"the index {name} is not valid; build it anew: reindex index {name}"
            self._found("index", text)
        return self.report

    def _ask(self, statement: str, **values: Any) -> list[Row]:
        rows: list[Row] = self._connection.execute(statement, values or None).fetchall()
        return rows

    def _read(self, name: str, statement: str) -> Iterator[Row]:
        """Yield rows as they are fetched: the server holds the others."""
        with self._connection.cursor(name=name) as cursor:
            cursor.itersize = AT_ONCE
            cursor.execute(statement)
            yield from cursor

    def _rows(self) -> Iterator[Row]:
        for row in self._read("doctor_tasks", _TASKS):
            values = list(row)
            for at in _JSON_AT:  # the history has no NUL: see rows.py
                values[at] = readable(values[at])
            yield tuple(values)

    def _log(self) -> Iterator[Row]:
        for count, row in enumerate(self._read("doctor_log", _LOG)):
            if count % TOLD_EVERY == 0:
                self._progress(count, self._total)
            yield row

    def _check_numbers(self) -> None:
        [(last, newest, self._total)] = self._ask(_NUMBERS)
        if last < newest:
            text = "the sequence wopr.numbers has not come to the newest transition"
            self._found("seq", text, expected=newest, actual=last)

    def _check_waits(self) -> None:
        """Find tasks that wait for ever: nobody lets go of them when their parents end."""
        for child, parent, status, awaited in self._ask(_AWAITS):
            if status is None:
                text = f"it waits for task {parent}, which is gone"
            elif awaited and status in ("success", "failed", "cancelled"):
                text = f"it waits for task {parent}, which has ended: {status}"
            else:
                text = f"it waits for task {parent}, which does not know that anybody does"
            self._found("waits", text, child, actual=status)
        for child, parents in self._ask(_FOR_NOBODY):
            text = f"it waits, but for none of those that it depends on: {parents:.200}"
            self._found("waits", text, child)

    def _check_leases(self) -> None:
        """Find tasks that run nowhere, and that no host has put back."""
        for task_id, worker, until in self._ask(_LOST, seconds=LOST_SECONDS):
            text = f"it runs on {worker}, says its row, whose host has no lease"
            self._found("lease", text, task_id, actual=None if until is None else str(until))
