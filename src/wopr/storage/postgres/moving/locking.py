"""Locks the tables of a queue that leaves a server, without holding up those who work there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from wopr.domain.errors import StorageError
from wopr.domain.spoken import counted
from wopr.storage.moving.tables import Tell
from wopr.storage.postgres.connections import driver

LONG_SECONDS = 1
"""A transaction that goes on for so long is waited for before a lock is asked for: who asks for
one makes all others wait behind it."""
LOCK_SECONDS = 1
"""So long a lock is waited for; then those who wait behind it go first, and it is tried again."""
LOOK_SECONDS = 0.2
WAIT_SECONDS = 60
"""So long transactions of others are waited for in all; then the move is refused."""

_LONG = """
select holders.pid, coalesce(nullif(activity.application_name, ''), 'no name'),
    extract(epoch from clock_timestamp() - activity.xact_start)::bigint
from (
    select distinct pid from pg_locks
    where locktype = 'relation' and granted and mode not in ('AccessShareLock', 'SIReadLock')
        and database = (select oid from pg_database where datname = current_database())
        and relation = any(%s::regclass[]::oid[])
) as holders
join pg_stat_activity as activity on activity.pid = holders.pid
where holders.pid <> pg_backend_pid()
    and (activity.backend_type <> 'autovacuum worker'
        or activity.query like '%%(to prevent wraparound)')
    and activity.xact_start < clock_timestamp() - %s * interval '1 second'
order by 3 desc
"""
"""An autovacuum is none: the server ends it for who waits for a lock, but one that has to be."""
_PATIENCE = """
select set_config('lock_timeout', (%s + case when exists (
    select from pg_locks join pg_class on pg_class.oid = relation
    where locktype = 'relation' and granted and mode = 'ShareUpdateExclusiveLock'
        and database = (select oid from pg_database where datname = current_database())
        and relnamespace = 'wopr'::regnamespace and pid <> pg_backend_pid()
) then setting::integer else 0 end)::text, true)
from pg_settings where name = 'deadlock_timeout'
"""
"""The server ends an autovacuum for who has waited until it looks for deadlocks, not before."""


class Locking:
    """Locks tables once no long transaction uses them.

    Args:
        connection: that gets the locks.
        tell: is told for whom it waits.
    """

    def __init__(self, connection: Any, tell: Tell) -> None:
        self._connection = connection
        self._tell = tell
        self._until = 0.0

    def begin(self) -> None:
        """Begin to wait: from now on it takes :data:`WAIT_SECONDS` at most."""
        self._until = time.monotonic() + WAIT_SECONDS

    def wait(self, tables: Sequence[str], meanwhile: Callable[[], object]) -> None:
        """Return once no long transaction uses one of the tables, outside of a transaction.

        Args:
            tables: their names.
            meanwhile: is done at each look.

        Raises:
            StorageError: one goes on for too long; it says which.
        """
        while found := self._long(tables):
            pid, name, seconds = found[0]
            self._tell(f"Waiting for a transaction of {name} (pid {pid}, {seconds} s)", 0, 0)
            self._refuse_after(f"the oldest is of {name}, pid {pid}, and {seconds} s old")
            meanwhile()
            time.sleep(LOOK_SECONDS)

    def _long(self, tables: Sequence[str]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection.execute(
            _LONG, [[f"wopr.{one}" for one in tables], LONG_SECONDS]
        ).fetchall()
        return found

    def got(self, statement: str, who: str = "which, this user may not see") -> bool:
        """Whether something could be locked, in the transaction that goes on.

        Args:
            statement: that locks it.
            who: may have it, for the error.

        Raises:
            StorageError: it was tried for too long.
        """
        self._connection.execute(_PATIENCE, [int(LOCK_SECONDS * 1000)])
        errors = driver().errors
        with contextlib.suppress(errors.LockNotAvailable, errors.DeadlockDetected):
            with self._connection.transaction():
                self._connection.execute(statement)
            return True
        self._refuse_after(who)
        return False

    def alone(self, number: int) -> None:
        """Take an advisory lock, which others share for as long as a transaction takes.

        Those who only try to share it don't get it while somebody waits for it alone: so it comes,
        however many they are.

        Raises:
            StorageError: it was tried for too long.
        """
        while True:
            with self._connection.transaction():
                if self.got(f"select pg_advisory_lock({number})", "it deletes tasks"):
                    return
            time.sleep(LOOK_SECONDS)

    def _refuse_after(self, who: str) -> None:
        if time.monotonic() > self._until:
            raise StorageError(
                "The tables of the queue are in use by long transactions, so it can't move: "
                f"{counted(WAIT_SECONDS, 'second')} were waited for them ({who}). The queue stays "
                "where it is. End these (see pg_stat_activity), then run the move again."
            )
