"""What an outbox does, whatever the application reaches its database with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from wopr.calls.options import CALL_OPTIONS, Options, check_options
from wopr.core.core import Core
from wopr.core.task import Task
from wopr.domain.checks import check_count, check_id
from wopr.domain.clock import IdFactory, naive_now
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.integrations.outbox.mover import Mover
from wopr.integrations.outbox.rows import OutboxRow, Rows, text_of
from wopr.queue.queue import TaskQueue, inside


class OutboxBase:
    """Moves rows, and tells of them; a service of the queue, started with its workers."""

    _ids = IdFactory()
    """Of all outboxes of this process, so that they increase."""

    def __init__(self, queue: TaskQueue, rows: Rows) -> None:
        self._core: Core = inside(queue)
        self._rows = rows
        self._mover = Mover(self._core, rows)
        queue.add_service(self)

    async def start(self) -> None:
        """Move rows from now on, in this process. The queue does it with its first workers."""
        if self._core.enabled:
            await self._mover.start()

    async def stop(self) -> None:
        """Move no more. The queue does it before it shuts down."""
        await self._mover.stop()

    async def move(self) -> int:
        """Move what is committed now; return how many rows became tasks.

        Raises:
            QueueDisabledError: the queue is switched off.
            StorageError: the queue can't be written; the rows stay.
        """
        await self._core.writer()
        return await self._mover.move()

    async def refused(self, limit: int = 100) -> list[OutboxRow]:
        """Return the oldest rows that can't become tasks; each has its ``error``."""
        return await self._rows.refused(check_count(limit, "limit", least=1, most=10_000))

    async def retry(self, *ids: str) -> int:
        """Try rows again that were refused, those with these ids or all; return how many."""
        count = await self._rows.retry([check_id(one) for one in ids])
        self._mover.wake()
        return count

    def _row(
        self,
        task: object,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the values of a new row, checked as ``queue.enqueue`` checks a call."""
        check_options(options, CALL_OPTIONS)
        name = task.name if isinstance(task, Task) else task
        named = {} if kwargs is None else kwargs
        new = self._core.new_task(cast("str", name), args, named, cast("Options", options))
        now = naive_now(self._core.time)
        new.id = self._ids.new(now)
        return {"id": new.id, "name": new.name, "call": text_of(new), "created_at": now}


def checked_queue(queue: object) -> TaskQueue:
    """Return the queue that an outbox was given.

    Raises:
        InvalidCallError: it is none.
    """
    if not isinstance(queue, TaskQueue):
        raise InvalidCallError(f"Outbox(queue, …) takes a TaskQueue, not {shown(queue)}.")
    return queue
