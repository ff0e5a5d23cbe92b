"""A table in which others leave word of what they run, beside a queue's tables or without any."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from wopr.domain.address import PostgresAddress
from wopr.storage.postgres.connections import driver, parameters

CONNECT_SECONDS = 5
STATEMENT_MILLISECONDS = 5_000
DROP_SECONDS = 60.0
"""A process looks through the table for what is old so seldom."""
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
_WRITE = """
insert into wopr_celery (id, kind, word) values (%s, %s, %s)
on conflict (id) do update
set kind = excluded.kind, word = excluded.word, written_at = clock_timestamp()
"""
_WRITE_OVER = _WRITE + "where coalesce(wopr_celery.kind, excluded.kind) = excluded.kind"
_STOP = """
insert into wopr_celery (id, stop) values (%s, true) on conflict (id) do update set stop = true
"""
_LOOK = "select id, kind, word from wopr_celery where id = any(%s) and kind is not null"
_STOPPED = "select 1 from wopr_celery where id = %s and stop"
_FORGET = "delete from wopr_celery where id = %s"
_OLD = "delete from wopr_celery where written_at < clock_timestamp() - interval '1 day'"
"""What nobody fetched: of calls that were stopped, and of senders that are gone."""


class Words:
    """The table, made when it is first used. Safe to use from any thread.

    One connection for each process, which is made anew after an error.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._driver = driver()
        self._address = address
        self._lock = threading.Lock()
        self._connection: Any = None
        self._process = 0
        self._dropped = -math.inf
        """When this process looked for what is old."""

    def look(self, ids: Sequence[str]) -> list[tuple[str, str, str | None]]:
        """Return id, kind and word of those that there are."""
        return [(id, kind, word) for id, kind, word in self.rows(_LOOK, list(ids))]

    def write(self, id: str, kind: str, word: str, *, over_others: bool = True) -> None:
        """Write one, over one of another kind too unless told not to."""
        self.rows(_WRITE if over_others else _WRITE_OVER, id, kind, word)

    def stop(self, id: str) -> None:
        """Write that it is to stop, and drop what is older than a day."""
        self.rows(_STOP, id)
        if time.monotonic() - self._dropped >= DROP_SECONDS:
            self.rows(_OLD)
            self._dropped = time.monotonic()

    def stopped(self, id: str) -> bool:
        """Whether that was written."""
        return bool(self.rows(_STOPPED, id))

    def forget(self, id: str) -> None:
        """Delete its row."""
        self.rows(_FORGET, id)

    def close(self) -> None:
        """Close the connection of this process; the next call makes a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement on the one connection."""
        with self._lock:
            connection = self._here()
            try:
                cursor = connection.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
            except self._driver.Error:
                if connection.broken or connection.closed:
                    self._connection = None
                raise

    def _here(self) -> Any:
        """Return the connection of this process: a forked one has none."""
        if self._connection is None or self._process != os.getpid():
            said = parameters(
                self._address, connect_timeout=CONNECT_SECONDS, application_name="wopr-celery"
            )
            bound = f"-c statement_timeout={STATEMENT_MILLISECONDS}"
            said["options"] = f"{bound} {said.get('options', '')}".strip()
            connection = self._driver.connect(**said, autocommit=True)
            with connection.transaction():
                connection.execute(_TABLE)
            self._connection, self._process = connection, os.getpid()
        return self._connection
