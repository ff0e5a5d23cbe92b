"""A registry of scheduled tasks for synchronous programs: ``Task``, ``TaskRegistry``.

The form that programs of EST Alan Scheduler have, over a durable queue: schedules, runs and
results are in its file and outlive the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, cast
from uuid import NAMESPACE_OID, uuid5

from pydantic import Field, PrivateAttr, field_validator

from wopr.config.settings import Settings
from wopr.core.runstate import LONGEST_HISTORY, RunState, TaskStatus
from wopr.domain.callables import is_async_callable
from wopr.domain.errors import (
    InvalidCallError,
    InvalidScheduleSpecificationError,
    ScheduleNotFoundError,
)
from wopr.domain.localtime import zone
from wopr.domain.scheduleoptions import EXACTLY_ONE_TASK_OPTION, WhenOptions, parse_schedule_options
from wopr.domain.standing import check_dependencies
from wopr.domain.task import TaskInfo
from wopr.queue.queue import TaskQueue, inside
from wopr.queue.sync import SyncQueue, until_stopped

__all__ = ["Task", "TaskRegistry", "TaskStatus", "registry", "start_scheduler"]

CATEGORY = "scheduler"


class _Ids:
    """Ids of 32 letters for tasks that are given none."""

    made: ClassVar[Counter[str]] = Counter()

    @classmethod
    def of(cls, values: dict[str, Any]) -> str:
        """Return the id of a task, told from others by all it is made of."""
        function = values.get("func")
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        text = repr([name, *(values.get(key) for key in ("args", "kwargs", "every", "at"))])
        text += repr([str(values.get("run_at")), values.get("depends_on"), values.get("tags")])
        cls.made[text] += 1
        return uuid5(NAMESPACE_OID, f"{text} {cls.made[text]}").hex


class Task(RunState):
    """A function and when it runs: exactly one of ``every``, ``at`` and ``run_at``."""

    func: Callable[..., Any]
    """A plain or a coroutine function. Its arguments and result must have a JSON form."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    every: dict[str, float] | None = None
    """``{"minutes": 5}``: at once, then so long from plan to plan."""
    at: str | None = None
    """``"14:30"``: daily."""
    run_at: datetime | None = None
    """Once; a naive one is local time."""
    depends_on: list[str] = Field(default_factory=list)
    """Ids of tasks that have to succeed once before. Their newest results are the keywords
    ``dep_<id>`` where the function accepts them."""
    tags: list[str] = Field(default_factory=list)
    max_retries: int = Field(default=0, ge=0)
    """How often a run that failed is tried again before the next one."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds that one run may take."""
    id: str = Field(default_factory=_Ids.of, min_length=1)
    """The same in every process that makes the same tasks in the same order."""

    _registry: TaskRegistry | None = PrivateAttr(default=None)

    @field_validator("at")
    @classmethod
    def _at_can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            parse_schedule_options(at=value)
        return value

    @field_validator("every")
    @classmethod
    def _every_can_be_read(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None:
            parse_schedule_options(every=value)
        return value

    def known_to(self, registry: TaskRegistry) -> None:
        """Read the state from this registry from now on; registering does it."""
        self._registry = registry

    def become(self, other: Task) -> None:
        """Take over another definition; the state is that of the id."""
        for name in type(self).model_fields:
            setattr(self, name, getattr(other, name))

    def _runs(self, limit: int = LONGEST_HISTORY) -> list[TaskInfo]:
        return [] if self._registry is None else self._registry.runs(self.id, limit)


class _Call:
    """A task's function under the task's id, where the next definition may take its place."""

    def __init__(self, task: Task) -> None:
        self.__wrapped__ = task.func  # signature and annotations are looked up there
        self._id = task.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)


class _PlainCall(_Call):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


class _CoroutineCall(_Call):
    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return await self.__wrapped__(*args, **kwargs)


class TaskRegistry:
    """Tasks by id, over one durable queue. May be used from any thread.

    Args:
        queue: ``None`` makes one, in ``WOPR_TASKS_DATABASE``.
        tz: the time zone of ``at`` and of naive ``run_at``; ``None`` means the machine's.
        workers: how many tasks may run at once.
    """

    def __init__(
        self, queue: TaskQueue | None = None, *, tz: str | None = None, workers: int = 8
    ) -> None:
        self.store: dict[str, Task] = {}
        self._queue = queue
        self._tz = tz or _local_zone()
        self._workers = workers
        self._lock = threading.RLock()
        self._making = threading.Lock()
        self._stopped = threading.Event()
        self._sync: SyncQueue | None = None
        self._ready = False

    @property
    def queue(self) -> TaskQueue:
        """The queue; made on first use."""
        with self._making:  # the loop's thread asks too, while others hold the other lock
            if self._queue is None:
                self._queue = TaskQueue(enabled=True, settings=Settings(scheduler=False))
            return self._queue

    def register(self, task: Task) -> Task:
        """Register a task and return it.

        Raises:
            ValueError: not exactly one of ``every``, ``at`` and ``run_at``; the id is taken; a
                task to depend on is not registered; an argument can't be stored.
        """
        with self._lock:
            if task.id in self.store:
                raise InvalidCallError(f"Task with id '{task.id}' already registered.")
            self._declare(task)
            return task

    def update(self, task: Task) -> Task:
        """Give a registered task another definition; its runs are kept, and its object too.

        Raises:
            KeyError: no task has this id.
            ValueError: as in :meth:`register`.
        """
        with self._lock:
            known = self.store.get(task.id)
            if known is None:
                raise KeyError(task.id)
            self._declare(task)
            known.become(task)
            self.store[task.id] = known
            return task

    def delete(self, task_id: str) -> None:
        """Forget a task and its schedule; unknown ids are ignored. Its runs stay.

        Raises:
            ValueError: other tasks depend on it.
        """
        with self._lock:
            self._check({key: one.depends_on for key, one in self.store.items() if key != task_id})
            task = self.store.pop(task_id, None)
            if task is None:
                return
            self.queue.schedules.withdraw(task_id)
            if self._ready:
                self._bridge()(self._remove, task_id)

    def tick(self) -> None:
        """Run what is due now, and return when it has ended."""
        self._bridge()(self._tick)

    def start(self, interval: float = 1.0) -> threading.Thread:
        """Run what is due from now on; the daemon thread lives until :meth:`stop`."""
        self._bridge()(self._start, interval)
        thread = threading.Thread(target=self._stopped.wait, name="wopr-scheduler", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Let running tasks finish and close the file. Idempotent."""
        with self._lock:
            sync, self._sync, self._ready = self._sync, None, False
            stopped, self._stopped = self._stopped, threading.Event()
        if sync is not None:
            sync.close()
        stopped.set()

    def runs(self, task_id: str, limit: int) -> list[TaskInfo]:
        """Return the newest runs of a task, the newest first."""
        sync = self._sync
        if sync is not None:
            return sync(self._read_runs, task_id, limit)
        with self._lock:
            if not self.queue.database.exists():
                return []
            with self.queue.sync() as sync:  # just for this: nobody has to stop it
                return sync(self._read_runs, task_id, limit)

    # -- inside -------------------------------------------------------------

    def _declare(self, task: Task) -> None:
        given = {"every": task.every, "at": task.at, "run_at": task.run_at}
        when = {key: value for key, value in given.items() if value is not None}
        if len(when) != 1:
            raise InvalidCallError(EXACTLY_ONE_TASK_OPTION)
        known = {key: one.depends_on for key, one in self.store.items()}
        self._check(known | {task.id: task.depends_on})
        call = (_CoroutineCall if is_async_callable(task.func) else _PlainCall)(task)
        if task.every is None:
            when["tz"] = self._tz
        definitions = inside(self.queue).registry.definitions
        # Whoever updates a task means another function; any other name stays one function's.
        before = definitions.pop(task.id, None) if task.id in self.store else None
        try:
            function = self.queue.task(
                name=task.id, category=CATEGORY, max_retries=task.max_retries, timeout=task.timeout
            )(call)
        except BaseException:
            if before is not None:
                definitions[task.id] = before
            raise
        self.queue.schedules.withdraw(task.id)
        self.queue.schedules.declare(
            task.id,
            function,
            at_once=True,
            args=task.args,
            kwargs=task.kwargs,
            depends_on=task.depends_on,
            tags=task.tags,
            **cast("WhenOptions", when),
        )
        task.known_to(self)
        self.store[task.id] = task

    @staticmethod
    def _check(depends_on: dict[str, list[str]]) -> None:
        check_dependencies({key: tuple(parents) for key, parents in depends_on.items()})

    def _bridge(self) -> SyncQueue:
        with self._lock:
            if self._sync is None:
                self._sync = self.queue.sync()
            return self._sync

    async def _open(self) -> None:
        if not self._ready:
            self._ready = True
            await self.queue.start_workers(CATEGORY, self._workers)
        await self.queue.schedules.sync()

    async def _start(self, interval: float) -> None:
        await self._open()
        await self.queue.start_scheduler(interval)

    async def _tick(self) -> None:
        await self._open()
        fired = await self.queue.schedules.tick()
        await asyncio.gather(*(self.queue.wait(task_id) for task_id in fired))

    async def _remove(self, task_id: str) -> None:
        try:
            await self.queue.schedules.remove(task_id)
        except ScheduleNotFoundError:
            return

    async def _read_runs(self, task_id: str, limit: int) -> list[TaskInfo]:
        return await self.queue.get_tasks(schedule=task_id, limit=limit)


def _local_zone() -> str:
    """Return the name of the machine's time zone, or UTC if it has none."""
    of_the_machine = os.path.realpath("/etc/localtime").rpartition("zoneinfo/")[2]
    for name in (os.environ.get("TZ", ""), of_the_machine):
        try:
            zone(name)
        except InvalidScheduleSpecificationError:
            continue
        return name
    return "UTC"


registry = TaskRegistry()
"""The registry of the program."""


def start_scheduler(interval: float = 1.0, blocking: bool = False) -> threading.Thread | None:
    """Run the registered tasks of :data:`registry` when they are due.

    Args:
        interval: seconds between two looks at the clock, at most.
        blocking: return only when the registry is stopped, by its ``stop`` or by Ctrl-C (a
            second one interrupts what runs); else in a daemon thread, which is returned.
    """
    if not blocking:
        return registry.start(interval)
    until_stopped(lambda: registry.start(interval), registry.stop)
    return None
