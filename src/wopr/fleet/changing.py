"""Change tasks: each change is made if the task is still as it was read, else decided anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from wopr.domain.change import Decision
from wopr.domain.errors import UniqueKeyConflictError
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.fleet.parts import Parts
from wopr.fleet.releasing import Releasing
from wopr.ports.storage import Entry
from wopr.storage.postgres.store import versioned


class Changing:
    """Changes tasks of the fleet."""

    def __init__(self, parts: Parts, releasing: Releasing) -> None:
        self._parts = parts
        self._releasing = releasing

    async def one(self, task_id: str, decision: Decision) -> bool:
        """Change a task; whether that was possible.

        Raises:
            UniqueKeyConflictError: another task has its unique key now.
        """
        while (record := await self._parts.store.get(task_id)) is not None:
            transition = decision(record, self._parts.now())
            if isinstance(transition, str):
                return False
            if await self.made([(record, transition)]):
                return True
        return False

    async def made(self, entries: Sequence[Entry]) -> list[Entry]:
        """Make changes in one transaction, with what follows from them; tell everybody.

        Return those of them that were made, as the tasks are then.
        """

        async def work(connection: Any) -> list[Entry]:
            return await self.within(connection, entries)

        done = await self.transaction(work, entries[0][0])
        if not done:
            done = await self._made_before(entries)
        self.tell(done)
        wanted = {record.id for record, _ in entries}
        return [one for one in done if one[0].id in wanted]

    async def within(self, connection: Any, entries: Sequence[Entry]) -> list[Entry]:
        """Make changes, with what follows from them, in a transaction that goes on."""
        done = await self._releasing.change(connection, entries)
        renewed = [one for one, made in done if made.from_status in TERMINAL]
        follow = await self._releasing.adopt(connection, renewed)
        return done + await self._releasing.change(connection, follow)

    def tell(self, done: Sequence[Entry]) -> None:
        """Tell everybody of changes, and those who run a task that it was taken from them."""
        for record, transition in done:
            if transition.from_status is TaskStatus.STARTED:
                self._parts.bell.cancelled(record.id)
        self._parts.tell(done)

    async def transaction(
        self, work: Callable[[Any], Awaitable[list[Entry]]], about: TaskRecord | None = None
    ) -> list[Entry]:
        """Do some work in a transaction; again, where others stood in its way.

        Raises:
            UniqueKeyConflictError: another live task has the key of one that is put back.
        """
        connections = self._parts.store.connections

        async def whole(connection: Any) -> list[Entry]:
            async with connection.transaction():
                return await work(connection)

        try:
            return await connections.run(whole)
        except connections.conflict as error:
            if about is None:
                raise connections.failure(error) from error
            holder = await self._parts.store.holder(str(about.unique_key))
            raise UniqueKeyConflictError(
                f"Task {about.id} can't be retried: task {holder} is live and has the same unique "
                f"key {about.unique_key!r}."
            ) from error

    async def _made_before(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those that this call made itself, when the connection broke at the commit."""
        versions = await self._parts.store.made(entries)
        return [
            (versioned(record, transition, versions[record.id]), transition)
            for record, transition in entries
            if record.id in versions
        ]
