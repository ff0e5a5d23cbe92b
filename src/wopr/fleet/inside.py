"""New tasks in a transaction of the application: they are there if, and only if, it commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from wopr.domain.errors import BacklogFullError, StorageError
from wopr.domain.limits import Limit
from wopr.domain.newtask import NewTask
from wopr.domain.task import TaskRecord
from wopr.fleet.adding import Adding
from wopr.fleet.changing import Changing
from wopr.fleet.fleet import Fleet
from wopr.fleet.parts import Parts
from wopr.fleet.releasing import Releasing
from wopr.ports.storage import Entry
from wopr.storage.postgres.caller import TELL, CallersTransaction
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.notices import CHANNEL, Bell, notices_of
from wopr.storage.postgres.store import Store

T = TypeVar("T")

MOST_LOOKS = 20
"""So often it is tried anew, where what is in the way can't be seen in this transaction."""


class Inside:
    """Adds tasks to the fleet's tables in one transaction of the application.

    Each call happens as a whole or not at all, and leaves the transaction usable; those that are
    made at once take turns. Hosts are told by the transaction itself, when it commits.

    Args:
        fleet: whose tables, limits and clock count.
        connection: of the application.
    """

    def __init__(self, fleet: Fleet, connection: Any) -> None:
        own = fleet.parts
        connections = own.store.connections
        self._identity = fleet.identity
        self._transaction = CallersTransaction(connections.address, connection)
        # It has of connections what adding needs, over one that is the application's.
        store = Store(cast("Connections", self._transaction))
        self._said = _Notes(store.connections)
        parts = Parts(
            store,
            own.around,
            own.clock,
            self._said,
            lambda _category, _at: None,  # hosts, and this one, hear of it at the commit
            lambda _record: None,
            own.categories,
        )
        releasing = Releasing(parts)
        self._adding = _Adding(parts, fleet.rules, Changing(parts, releasing), releasing)

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add all of them or none; return their ids in order."""
        return await self._whole(lambda: self._adding.add_many(tasks))

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on each other; return their ids in order."""
        return await self._whole(lambda: self._adding.add_flow(tasks))

    async def _whole(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._transaction.turn(), self._transaction.transaction():
            done = await work()
            notices = self._said.notices()
            [(identity, _), *_] = await self._transaction.rows(
                TELL, channel=CHANNEL, notices=notices
            ) or [(None, None)]
            if identity != self._identity:
                raise self._transaction.other_database()
        return done


class _Notes(Bell):
    """What there is to say at the commit."""

    def _say(self, kind: str, what: str) -> None:
        self._note(kind, what)

    def notices(self) -> list[str]:
        """Return what was said."""
        said, self._said = self._said, {}
        return notices_of(said)


class _Adding(Adding):
    """Adds where nothing waits and no statement is shared."""

    _looks = 0

    async def _written(self, record: TaskRecord, *, known: bool) -> bool:
        there = await self._parts.store.add([record])
        self._tell([record] if there else [])
        return bool(there)

    def _tell(self, whole: Sequence[TaskRecord]) -> None:
        self._parts.tell_new(whole)

    async def _make_room(self, connection: Any, limit: Limit, number: int) -> list[Entry] | None:
        made = await super()._make_room(connection, limit, number)
        if made is None:
            raise BacklogFullError(
                f"The backlog of category {limit.category!r} has no room for {number:,} more, and "
                "a transaction does not wait for some. Nothing was written; try again later, or "
                f"enqueue without connection=: wopr limits set {limit.category} --backlog N"
            )
        return made

    async def _known(self, new: NewTask, record: TaskRecord) -> str | None:
        known = await super()._known(new, record)
        self._looks += 1
        if known is None and self._looks > MOST_LOOKS:
            raise StorageError(
                "Another transaction has enqueued the same, and this one, whose snapshot is older, "
                "can't see it. Begin the transaction anew; READ COMMITTED sees it at once."
            )
        return known
