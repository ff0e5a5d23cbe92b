"""Tasks that have run when ``enqueue`` returns."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from wopr.access.local import LocalBackend
from wopr.domain.errors import TaskFailedError
from wopr.domain.newtask import NewTask
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo
from wopr.executors.context import CurrentTask
from wopr.queue.queue import TaskQueue, inside
from wopr.testing.bench import Bench, bench_of


@contextlib.asynccontextmanager
async def inline(queue: TaskQueue, *, raises: bool = True) -> AsyncIterator[TaskQueue]:
    """Run each task at once when it is enqueued, for an ``async with`` block; give the queue.

    ``enqueue`` returns when the task has ended, and so have those that it enqueued. All of it
    is the real thing: arguments and results go through JSON, the task has a context of its
    own, its row and history are in the database. A task that is not due, delayed or between
    two attempts, stays where it is; see :func:`drain`.

    Args:
        queue: opened if it is not open yet.
        raises: whether ``enqueue`` raises what made the task fail for good, as no real one
            does. ``False``: look at the handle.

    Raises:
        InvalidCallError: the queue is switched off.
        StorageOwnedError: another process has the file.
    """
    running = Inline(bench_of(queue), raises=raises)
    await running.bench.backend()
    core = inside(queue)
    core.registry.middlewares.insert(0, running.remember)
    try:
        with core.access.through(running.instead_of):
            yield queue
    finally:
        core.registry.middlewares.remove(running.remember)
        await running.bench.send_home()


class Inline:
    """Runs tasks to their end."""

    def __init__(self, bench: Bench, *, raises: bool) -> None:
        self.bench = bench
        self._raises = raises
        self._errors: dict[str, Exception] = {}

    def instead_of(self, backend: LocalBackend) -> LocalBackend:
        """Return the verbs of a backend, with those that add tasks running them too."""

        async def add(new: NewTask) -> str:
            return (await self.through([await backend.add(new)]))[0]

        async def add_many(tasks: Iterable[NewTask]) -> list[str]:
            return await self.through(await backend.add_many(tasks))

        async def add_flow(tasks: Sequence[NewTask]) -> list[str]:
            return await self.through(await backend.add_flow(tasks))

        instead = copy.copy(backend)
        instead.add, instead.add_many, instead.add_flow = add, add_many, add_flow
        return instead

    async def remember(self, task: CurrentTask, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Be a middleware that keeps what tasks raise."""
        try:
            return await call_next()
        except Exception as error:
            self._errors[task.id] = error
            raise

    async def through(self, ids: list[str]) -> list[str]:
        """Return the ids when none of these tasks goes on by itself any more.

        Raises:
            Exception: what made one of them fail.
        """
        while (since := await self._going(ids)) is not None:
            await self.bench.change(since)
        for info in await self._infos(ids):
            if self._raises and info.status is TaskStatus.FAILED:
                error = self._errors.get(info.id)
                raise error or TaskFailedError(f"Task {info.id} ({info.name}) failed: {info.error}")
        return ids

    async def _going(self, ids: list[str]) -> int | None:
        """Return since when, if one of these tasks will go on by itself."""
        while True:
            since = self.bench.moment
            moves: list[bool | None] = []
            for info in await self._infos(ids):
                moves.append(await self.bench.moves(info))
                if moves[-1] is not False:
                    await self.bench.staff_more(info.category)
            if None not in moves:
                return since if True in moves else None
            await self.bench.told()

    async def _infos(self, ids: list[str]) -> list[TaskInfo]:
        infos = [await self.bench.queue.get_task_info(task_id) for task_id in ids]
        return [info for info in infos if info is not None]
