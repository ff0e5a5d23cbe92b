"""Moves the rows of an outbox into the queue, each exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from wopr.config.crashpoint import crashpoint
from wopr.core.core import Core
from wopr.domain.errors import (
    BacklogFullError,
    InvalidCallError,
    TaskNotFoundError,
    UniqueKeyConflictError,
)
from wopr.domain.guarded import error_text
from wopr.domain.newtask import NewTask
from wopr.integrations.outbox.rows import LONGEST_ERROR, OutboxRow, Rows, call_of

log = logging.getLogger(__name__)

LONGEST_WAIT = 30.0
"""Seconds between two looks at a database, or into a queue, that can't be used just now."""
_OWN_FAULT = (InvalidCallError, TaskNotFoundError, UniqueKeyConflictError)
"""What is wrong with a row itself, so that it would be refused again."""


class Mover:
    """Moves what is committed, now and then, or as soon as it is told that there is something.

    The id of the task stands in its row, so the queue knows it again: a row that was moved and
    not deleted, because of a crash in between, becomes no second task. Nor does one whose deletion
    failed here, for however long, even if its task is not kept that long.
    """

    def __init__(self, core: Core, rows: Rows) -> None:
        self._core = core
        self._rows = rows
        self._woken = asyncio.Event()
        self._moving = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._unsettled: set[str] = set()
        """The ids of tasks whose rows are there still, though their deletion was tried."""

    # -- life -----------------------------------------------------------------

    async def start(self) -> None:
        """Begin, on this event loop. Idempotent."""
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._woken, self._moving = asyncio.Event(), asyncio.Lock()
            self._stopping = False
            self._task = self._loop.create_task(self._run())

    async def stop(self) -> None:
        """End, after the rows that are being moved. Idempotent."""
        task, self._task = self._task, None
        try:
            if task is not None:
                self._stopping = True
                self._woken.set()
                await task
        finally:
            if task is not None:
                task.cancel()  # who waits for the end has given up
            self._loop, self._stopping = None, False
            await self._rows.close()

    def wake(self) -> None:
        """Tell that something may have been committed; in any thread."""
        if (loop := self._loop) is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._woken.set)

    async def _run(self) -> None:
        interval = self._core.settings.outbox_seconds
        wait = interval
        while not self._stopping:
            self._woken.clear()
            try:
                await self.move()
            except Exception as error:  # noqa: BLE001 - drivers raise anything; it is tried again
                if wait <= interval:
                    log.error("The rows of an outbox can't be moved yet: %s", error_text(error))
                wait = min(2 * wait, max(interval, LONGEST_WAIT))
            else:
                if wait > interval:
                    log.info("The rows of an outbox are moved again.")
                wait = interval
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    # -- move -----------------------------------------------------------------

    async def move(self) -> int:
        """Move what is committed now; return how many rows became tasks.

        Raises:
            StorageError: the queue can't be written.
            TimeoutError: a full backlog made no room in time.
        """
        moved = 0
        async with self._moving:
            while not self._stopping:
                count, more = await self._batch()
                moved += count
                if not more:
                    break
        return moved

    async def _batch(self) -> tuple[int, bool]:
        """Move some rows; return how many, and whether there may be more of them."""
        try:
            rows = await self._rows.take()
            if not rows:
                return 0, False
            known = [row.number for row in rows if row.id in self._unsettled]
            new = [row for row in rows if row.number not in known]
            moved, refused = await self._enqueue(new) if new else ([], {})
            self._unsettled.update(row.id for row in new if row.number in moved)
            moved += known
            crashpoint("outbox.after_enqueue")
            await self._rows.settle(moved, refused)
            self._unsettled.clear()
            crashpoint("outbox.after_delete")
        finally:
            await self._rows.let_go()
        for row in rows:
            if row.number in refused:
                _tell(row, refused[row.number])
        return len(moved), len(moved) + len(refused) == len(rows)

    async def _enqueue(self, rows: Sequence[OutboxRow]) -> tuple[list[int], dict[int, str]]:
        """Enqueue calls in order; return the numbers of those that are tasks, and what is wrong."""
        refused: dict[int, str] = {}
        news: list[tuple[int, NewTask]] = []
        for row in rows:
            try:
                most_bytes = self._core.settings.max_args_bytes
                news.append((row.number, call_of(row, self._core.registry, most_bytes)))
            except InvalidCallError as error:
                refused[row.number] = _said(error)
        async with asyncio.timeout(self._core.settings.call_seconds):
            try:
                await self._core.change(lambda backend: backend.add_many([new for _, new in news]))
            except (*_OWN_FAULT, BacklogFullError):
                return await self._one_by_one(news, refused)
        return [number for number, _ in news], refused

    async def _one_by_one(
        self, news: Sequence[tuple[int, NewTask]], refused: dict[int, str]
    ) -> tuple[list[int], dict[int, str]]:
        """Enqueue up to a backlog that is full, without those that are refused."""
        moved: list[int] = []
        for number, new in news:
            new.again = True
            try:
                await self._core.change(lambda backend, new=new: backend.add(new))  # type: ignore[misc]
            except _OWN_FAULT as error:
                refused[number] = _said(error)
            except BacklogFullError:
                break
            else:
                moved.append(number)
        return moved, refused


def _said(error: Exception) -> str:
    return error_text(error).replace("\x00", "")[:LONGEST_ERROR]


def _tell(row: OutboxRow, error: str) -> None:
    log.error(
        "Row %d of an outbox can't become task %s (%s): %s It stays, and those behind it are "
        "moved. Once its cause is gone: await outbox.retry(%r); or delete the row.",
        row.number,
        row.id,
        row.name,
        error,
        row.id,
    )
