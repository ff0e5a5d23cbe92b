"""What the tools of one queue share."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import AsyncIterator, Iterable, Sequence

from wopr.access.local import LocalBackend
from wopr.access.starting import know_all_secrets
from wopr.domain.errors import InvalidCallError, StorageOwnedError, TaskNotFoundError
from wopr.domain.status import TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.domain.transition import Transition
from wopr.queue.queue import TaskQueue, inside

PAGE = 500
MOVING = {"running", "starting", "queued", "limits"}
"""Explanations of a task that ends, or starts, without anybody's doing."""

_numbers = itertools.count(1)


class Bench:
    """Runs tasks of one queue when a test asks for it."""

    def __init__(self, queue: TaskQueue) -> None:
        self.loop = asyncio.get_running_loop()
        self.steady = asyncio.Lock()
        """Held by who needs an engine that stays the same."""
        self.starts: list[str] = []
        """Ids of tasks, one per attempt, in the order of their claims."""
        self._queue = weakref.ref(queue)
        self._changes = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._workers: dict[str, set[str]] = {}

    @property
    def queue(self) -> TaskQueue:
        """The queue under test."""
        queue = self._queue()
        assert queue is not None, "who uses the bench has the queue"
        return queue

    async def backend(self) -> LocalBackend:
        """Return the engine's verbs; open the queue if need be, and listen to it.

        Raises:
            InvalidCallError: the queue is switched off.
            StorageOwnedError: another process has the file.
        """
        if not self.queue.enabled:
            raise InvalidCallError(
                "The queue is switched off, so there is nothing to run. In a test open it with "
                "`async with isolated(queue): …`."
            )
        access = inside(self.queue).access
        await access.backend()
        backend = access.local
        if backend is None:
            raise StorageOwnedError(
                f"Another process has {self.queue.database}, so nothing can be run here. Give the "
                "test a file of its own: async with isolated(queue): …"
            )
        observers = backend.engine.shared.observers
        if self._told not in observers:
            observers.append(self._told)
        return backend

    def _told(self, record: TaskRecord, transition: Transition) -> None:
        if transition.move is Move.CLAIM:
            self.starts.append(record.id)
        self.tell()

    def tell(self) -> None:
        """Wake those that wait for a change."""
        self._changes += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @property
    def moment(self) -> int:
        """What :meth:`change` takes: ask for it before you look."""
        return self._changes

    async def told(self) -> None:
        """Return when everything is known that is on disk."""
        await (await self.backend()).engine.shared.storage.flush()
        await asyncio.sleep(0)  # it is told in the loop

    async def change(self, since: int) -> None:
        """Return when something happened to some task since then."""
        if self._changes == since:
            future: asyncio.Future[None] = self.loop.create_future()
            self._waiting.append(future)
            await future

    # -- workers ------------------------------------------------------------

    async def staff(self, categories: Iterable[str], count: int) -> None:
        """Give those categories so many where the application has none, until :meth:`send_home`."""
        backend = await self.backend()
        for category in categories:
            pool = backend.engine.pool(category)
            if not self._of_application(backend, category):
                self._hire(backend, category, count - len(pool.workers))
            pool.wake()  # the clock may have moved

    async def staff_more(self, category: str) -> None:
        """Give a category one more if all are busy, maybe with waiting for this one."""
        backend = await self.backend()
        pool = backend.engine.pool(category)
        if len(pool.running) >= len(pool.workers):
            self._hire(backend, category, 1)

    def _hire(self, backend: LocalBackend, category: str, count: int) -> None:
        know_all_secrets()
        names = [f"test-{category}-{next(_numbers)}" for _ in range(count)]
        self._workers.setdefault(category, set()).update(names)
        backend.engine.pool(category).add_workers(names)

    async def send_home(self) -> None:
        """Take the workers of the tests away that do nothing."""
        engine = (await self.backend()).engine
        for category, names in self._workers.items():
            engine.pool(category).remove_idle(names)

    async def of_application(self) -> dict[str, int]:
        """Return how many workers the application has, by category."""
        backend = await self.backend()
        counts = {one: self._of_application(backend, one) for one in backend.engine.pools}
        return {category: count for category, count in counts.items() if count}

    def _of_application(self, backend: LocalBackend, category: str) -> int:
        own = self._workers.get(category, ())
        return sum(worker.name not in own for worker in backend.engine.pool(category).workers)

    # -- looking ------------------------------------------------------------

    async def unfinished(self, category: str | None) -> AsyncIterator[TaskInfo]:
        """Give the tasks that have not ended, those that run first."""
        for status in (TaskStatus.STARTED, TaskStatus.PENDING, TaskStatus.RETRY):
            cursor = None
            while page := await self.queue.get_tasks(category, status, limit=PAGE, cursor=cursor):
                for info in page:
                    yield info
                cursor = page[-1].id

    async def moves(self, info: TaskInfo) -> bool | None:
        """Whether a task will go on by itself; ``None``: look again at once."""
        try:
            why = (await self.queue.explain(info.id)).reason
        except TaskNotFoundError:  # it ended and was cleaned up meanwhile
            return None
        if why == "waiting for parents":
            return None if await self._parents_ended(info.depends_on) else False
        return None if why == "no workers" else why in MOVING

    async def _parents_ended(self, parents: Sequence[str]) -> bool:
        infos = [await self.queue.get_task_info(parent) for parent in parents]
        return all(info is None or info.status in TERMINAL for info in infos)


_benches: weakref.WeakKeyDictionary[TaskQueue, Bench] = weakref.WeakKeyDictionary()


def bench_of(queue: TaskQueue) -> Bench:
    """Return the bench of a queue on this event loop."""
    bench = _benches.get(queue)
    if bench is None or bench.loop is not asyncio.get_running_loop():
        bench = _benches[queue] = Bench(queue)
    return bench
