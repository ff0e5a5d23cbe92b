"""Calls that may have been carried out already: a repeated one is the same task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from wopr.domain.adding import check_ids
from wopr.domain.errors import InvalidCallError
from wopr.domain.newtask import NewTask
from wopr.domain.task import TaskRecord
from wopr.ports.storage import Storage

Add = Callable[[Sequence[NewTask]], Awaitable[list[str]]]

LOOKED_UP = 100
"""So many tasks are read at once, because each may have a large result."""


class Repeats:
    """Adds tasks that bring their ids, each once, however often it is asked to.

    Ids are made by who enqueues, who may not have been told what became of the call: its
    owner was killed, or the connection broke.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._under_way: dict[str, asyncio.Event] = {}
        """The ids of calls that are being carried out; each tells when its call is over."""

    async def one(self, new: NewTask, add: Callable[[NewTask], Awaitable[str]]) -> str:
        """Add a task unless it is there; return its id, or that of who has its unique key."""

        async def adding(tasks: Sequence[NewTask]) -> list[str]:
            return [await add(tasks[0])]

        return (await self.many([new], adding))[0]

    async def many(self, tasks: Sequence[NewTask], add: Add, *, whole: bool = False) -> list[str]:
        """Add those that are not there; return the ids of all, in order.

        Args:
            tasks: all with an id, or some.
            add: adds some of them.
            whole: whether they are one commit: with one of them all are there.

        Raises:
            InvalidCallError: an id is that of another call, or stands there twice.
        """
        ids = check_ids(tasks)
        over = await self._turn(ids, tasks)
        try:
            known = await self._known(tasks)
            if known and whole:
                known.update((new.id, new.id) for new in tasks if new.id is not None)
            missing = [new for new in tasks if new.id is None or new.id not in known]
            added = iter(await add(missing) if missing else ())
            return [known.get(new.id) or next(added) for new in tasks]
        finally:
            for one in ids:
                del self._under_way[one]
            over.set()

    async def _turn(self, ids: Sequence[str], tasks: Sequence[NewTask]) -> asyncio.Event:
        """Return once no other call has any of the ids; from then on this one has them."""
        while other := next(filter(None, map(self._under_way.get, ids)), None):
            await other.wait()
            for new in tasks:
                new.again = True
        over = asyncio.Event()
        self._under_way.update(dict.fromkeys(ids, over))
        return over

    async def _known(self, tasks: Sequence[NewTask]) -> dict[str | None, str]:
        """Return the ids of those that are there."""
        doubtful = {new.id: new for new in tasks if new.id is not None and new.again}
        known: dict[str | None, str] = {}
        if doubtful:
            await self._storage.flush()  # what is being written is there
        ids = list(doubtful)
        for at in range(0, len(ids), LOOKED_UP):
            found = await self._storage.get_many(ids[at : at + LOOKED_UP])
            for task_id, record in found.items():
                _check_same(record, doubtful[task_id])
                known[task_id] = task_id
        return known


def _check_same(record: TaskRecord, new: NewTask) -> None:
    if (record.name, record.args, record.kwargs) != (new.name, new.args, new.kwargs):
        raise InvalidCallError(
            f"Task {record.id} is a call of {record.name!r} already, and this is another call, of "
            f"{new.name!r}, with the same id: nothing was enqueued. An id is made anew for each "
            "call, and only the very same call is repeated with it."
        )
