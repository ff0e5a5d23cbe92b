"""Deaths of the worker at chosen points, to try whether a task may run twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Literal

from wopr.access.local import LocalBackend
from wopr.core.handle import TaskHandle
from wopr.core.task import Task
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.task import TaskInfo
from wopr.executors.context import CurrentTask
from wopr.ports.storage import Done, Entry
from wopr.queue.queue import TaskQueue, inside
from wopr.testing.bench import Bench, bench_of
from wopr.testing.drain import drain

Point = Literal["before_run", "after_run", "before_commit"]
POINTS: tuple[Point, ...] = ("before_run", "after_run", "before_commit")
TURNS = 3
"""Of the event loop, in which an attempt begins that was just claimed."""
LAST_WORD = 1.0
"""Seconds that a function which catches its cancellation may go on."""


@contextlib.asynccontextmanager
async def crash_at(
    queue: TaskQueue,
    point: Point,
    *,
    task: str | Task[..., Any] | TaskHandle[Any] | None = None,
) -> AsyncIterator[None]:
    """Let the worker die once at a point of an attempt, and start again, for a block.

    Everything that runs then is dropped without an outcome, the storage is closed and opened
    anew: recovery reads what the file says, and the tasks run again. Workers of the
    application start again; who waits for a result meanwhile gets ``QueueClosedError``.

    It is the same process all the same. Its memory survives, functions of other tasks that
    run are cancelled (those in threads go on), and resources are closed properly. What a
    killed process leaves half done *inside* of a function is not tried: for that, let a fake
    of what it calls raise.

    Args:
        queue: see :func:`wopr.testing.drain`, which runs its tasks.
        point: ``before_run``: the attempt is on disk, its function was not called.
            ``after_run``: the function has ended, nobody knows. ``before_commit``: its outcome
            was on the way to the disk.
        task: only attempts of this task, by name or by the id of one; ``None``: any.

    Raises:
        AssertionError: no attempt came to this point in the block.
        InvalidCallError: there is no such point, or the queue is switched off.
    """
    if point not in POINTS:
        raise InvalidCallError(f"There is no point {shown(point)}; there are {', '.join(POINTS)}.")
    bench = bench_of(queue)
    await bench.backend()
    death = Death(bench, point, _wanted(task))
    middlewares = inside(queue).registry.middlewares
    middlewares.insert(0, death.around)
    dying = asyncio.create_task(death.come())
    try:
        yield
        for _ in range(TURNS):  # what was claimed at the end of the block begins
            if not death.reached.is_set():
                await asyncio.sleep(0)
    finally:
        middlewares.remove(death.around)
        if death.reached.is_set():
            await dying
        else:
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
    if not death.reached.is_set():
        raise AssertionError(
            f"No attempt{'' if task is None else f' of {shown(_wanted(task))}'} came to "
            f"{point!r} in the block, so nothing crashed. Did it run any tasks: await drain(queue)?"
        )


async def run_twice(
    queue: TaskQueue, task: str | TaskHandle[Any], point: Point = "after_run"
) -> TaskInfo:
    """Run a task that is due, let the worker die at a point, and run it again; return it.

    What else is due in the queue runs too. See :func:`crash_at` for the points.

    Raises:
        AssertionError: it did not come to this point.
        TaskNotFoundError: there is no such task.
    """
    task_id = task if isinstance(task, str) else task.id
    await queue.require_task_info(task_id)
    async with crash_at(queue, point, task=task_id):
        await drain(queue)
    return await queue.require_task_info(task_id)


class Death:
    """Waits for one attempt at one point, and lets the queue die there."""

    def __init__(self, bench: Bench, point: Point, wanted: str | None) -> None:
        self.reached = asyncio.Event()
        self._bench = bench
        self._point = point
        self._wanted = wanted
        self._armed = True

    async def around(self, task: CurrentTask, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Be a middleware, the outermost."""
        if self._wanted not in {None, task.name, task.id}:
            return await call_next()
        if self._point == "before_run":
            await self._dead()
        try:
            value = await call_next()
        except Exception:
            await self._ended(task)
            raise
        await self._ended(task)
        return value

    async def _ended(self, task: CurrentTask) -> None:
        if self._point == "after_run":
            await self._dead()
        elif self._armed:
            self._armed = False
            self._lose_outcome(await self._bench.backend(), task.id)

    async def _dead(self) -> None:
        """Go no further; the attempt is cancelled when its queue has died."""
        if self._armed:
            self._armed = False
            self._die(await self._bench.backend())
            await asyncio.Event().wait()

    def _lose_outcome(self, backend: LocalBackend, task_id: str) -> None:
        """Let the next transition of a task never get to the disk."""
        storage = backend.engine.shared.storage
        submit = storage.submit

        def losing(
            entries: Sequence[Entry], done: Done, *, urgent: bool = True, now: bool = False
        ) -> None:
            if any(record.id == task_id for record, _ in entries):
                storage.submit = submit  # type: ignore[method-assign]
                self._die(backend)
            else:
                submit(entries, done, urgent=urgent, now=now)

        storage.submit = losing  # type: ignore[method-assign]  # until that one is lost

    def _die(self, backend: LocalBackend) -> None:
        """Start nothing more; :meth:`come` does the rest."""
        for pool in backend.engine.pools.values():
            pool.accepting = False
        self.reached.set()

    async def come(self) -> None:
        """Wait until the point is reached, then die and start again."""
        await self.reached.wait()
        async with self._bench.steady:
            await _restart(self._bench)
        self._bench.tell()


async def _restart(bench: Bench) -> None:
    """Drop all that runs, close the storage, and open it as a new process would."""
    workers = await bench.of_application()
    pools = (await bench.backend()).engine.pools.values()
    dead = [attempt for pool in pools for attempt in pool.running.values()]
    for pool in pools:
        pool.running.clear()
    for attempt in dead:
        attempt.over = True  # whatever comes of it now is dropped
        attempt.stop()
    tasks = [attempt.task for attempt in dead if attempt.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_WORD)
    await bench.queue.shutdown(timeout=0)
    await bench.backend()
    for category, count in workers.items():
        await bench.queue.start_workers(category, count)


def _wanted(task: str | Task[..., Any] | TaskHandle[Any] | None) -> str | None:
    if isinstance(task, TaskHandle):
        return task.id
    return task.name if isinstance(task, Task) else task
