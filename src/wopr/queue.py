"""TaskQueue: the composition root and the verbs that applications call."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from wopr.config import Settings
from wopr.domain.callables import is_async_callable
from wopr.domain.clock import Clock, SystemClock
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import (
    InvalidCallError,
    QueueClosedError,
    QueueDisabledError,
    TaskNotFoundError,
    TaskNotRegisteredError,
)
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import TaskInfo
from wopr.engine.calls import check_count, check_label, check_priority, check_seconds, new_task
from wopr.engine.engine import NewTask
from wopr.engine.lanes import Lanes
from wopr.engine.pool import Worker
from wopr.engine.registry import Registry
from wopr.opening import LocalBackend
from wopr.ports.storage import TaskFilter
from wopr.results import Explanation, HistoryEntry, QueryResult
from wopr.storage.noop import NoopStorage
from wopr.sync import SyncQueue
from wopr.task import AsyncTask, Options, SyncTask, Task, TaskDecorator, TaskHandle

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class TaskQueue:
    """A durable queue of tasks in one DuckDB file.

    Args:
        enabled: whether it does anything; ``None`` reads ``WOPR_TASKS_ENABLED`` now.
        storage_factory: called once, without arguments, for the storage; useful in tests.
        database: the file; ``None`` means ``WOPR_TASKS_DATABASE`` or ``wopr_tasks.duckdb``.
        settings: all other settings; ``None`` reads the environment now.
        clock: source of time.
        rng: source of randomness, for jitter.

    A queue that is switched off makes no file, no thread and no import of duckdb:
    reads answer empty, and ``add_task`` raises :class:`QueueDisabledError`.

    A queue belongs to the event loop that it was first used on, until ``shutdown``.
    """

    def __init__(
        self,
        enabled: bool | None = None,
        storage_factory: Callable[[], Any] | None = None,
        *,
        database: str | Path | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.enabled = self.settings.enabled if enabled is None else bool(enabled)
        self.database = Path(database) if database is not None else self.settings.database
        self._clock = clock or SystemClock()
        self._storage_factory = storage_factory
        self._registry = Registry(
            PayloadLimits(
                args=self.settings.max_args_bytes, result=self.settings.max_result_bytes
            )
        )
        self._local = LocalBackend(
            self.settings,
            self.database,
            storage_factory,
            self._registry,
            self._clock,
            rng or random.Random(),
        )

    # -- what there is -------------------------------------------------------

    @property
    def storage(self) -> Any:
        """The storage; made on first access, a :class:`NoopStorage` when switched off."""
        return self._local.storage if self.enabled else NoopStorage()

    @property
    def queues(self) -> dict[str, Lanes]:
        """The waiting tasks in memory, by category."""
        return {name: pool.lanes for name, pool in self._local.pools.items()}

    @property
    def workers(self) -> dict[str, list[Worker]]:
        """The worker slots, by category."""
        return {
            name: list(pool.workers) for name, pool in self._local.pools.items() if pool.workers
        }

    @property
    def running_tasks(self) -> dict[str, TaskInfo]:
        """Snapshots of the tasks that run in this process, by id."""
        return {
            task_id: self._local.info(attempt.record)
            for pool in self._local.pools.values()
            for task_id, attempt in pool.running.items()
        }

    @property
    def task_functions(self) -> dict[str, Callable[..., Any]]:
        """The registered functions, by task name."""
        return {name: item.function for name, item in self._registry.definitions.items()}

    # -- register ------------------------------------------------------------

    def register_task(
        self,
        name: str,
        category: str = "default",
        *,
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
    ) -> Callable[[F], F]:
        """Register a function under a name; returns it unchanged.

        Args:
            name: unique across all categories; stored with every task.
            category: where its tasks wait and which workers run them.
            priority: of its tasks, unless a call says otherwise.
            max_retries: retries after a failure, unless a call says otherwise; 0 if
                neither says, or as many as a policy's ``stop`` allows.
            retry: a :class:`RetryPolicy`, or tenacity ``wait_*``, ``stop_*`` and
                ``retry_if_*`` objects.
            timeout: seconds that one attempt may run.

        Raises:
            DuplicateTaskError: the name belongs to another function.
            InvalidCallError: a value can't be what it has to be.
        """

        def register(function: F) -> F:
            self._register(function, name, category, priority, max_retries, retry, timeout)
            return function

        return register

    def _register(
        self,
        function: Callable[..., Any],
        name: str,
        category: str,
        priority: TaskPriority,
        max_retries: int | None,
        retry: Any,
        timeout: float | timedelta | None,
    ) -> None:
        self._registry.add(
            function,
            name=check_label(name, "a task's name"),
            category=check_label(category, "category"),
            priority=check_priority(priority),
            max_retries=None if max_retries is None else check_count(max_retries, "max_retries"),
            retry=RetryPolicy.of(retry),
            timeout=None if timeout is None else check_seconds(timeout, "timeout", zero="refuse"),
        )
        self._local.registered(name)

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        category: str = "default",
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
    ) -> TaskDecorator: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        category: str = "default",
        priority: TaskPriority = TaskPriority.NORMAL,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
    ) -> Any:
        """Make a function a :class:`Task`: still callable, and with ``enqueue``.

        Works with and without parentheses. Without ``name`` it is the function's
        qualified name without its module. Other arguments as in :meth:`register_task`.
        """

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            label = name or getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
            if not label:
                raise InvalidCallError(f"{function!r:.100} has no name: use task(name=…).")
            self._register(function, label, category, priority, max_retries, retry, timeout)
            kind = AsyncTask if is_async_callable(function) else SyncTask
            return kind(self, label, function)

        return decorate if function is None else decorate(function)

    # -- enqueue -------------------------------------------------------------

    async def add_task(
        self,
        name: str,
        category: str | None = None,
        priority: TaskPriority | None = None,
        max_retries: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> str:
        """Add a task and return its id, once it is on disk.

        Args:
            name: of a registered task.
            category: ``None`` means the one it was registered with.
            priority: ``None`` means the task's own, usually NORMAL.
            max_retries: ``None`` means the task's own, usually 0.
            *args: positional arguments of the function.
            **kwargs: keyword arguments of the function. Where they collide with the
                names above, use :meth:`enqueue`.

        Raises:
            QueueDisabledError: the queue is switched off.
            TaskNotRegisteredError: nothing has this name.
            InvalidCallError: a value or an argument is wrong; nothing was written.
            StorageError: the storage refused it.
        """
        options: Options = {"category": category, "priority": priority, "max_retries": max_retries}
        return await self.enqueue_id(name, args, kwargs, options)

    async def enqueue(
        self,
        task: str | Task[..., R],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        category: str | None = None,
        priority: TaskPriority | None = None,
        max_retries: int | None = None,
        retry: Any = None,
        timeout: float | timedelta | None = None,
        delay: float | timedelta | None = None,
        run_at: datetime | None = None,
        unique_key: str | None = None,
        on_conflict: Any = None,
        tags: Sequence[str] = (),
    ) -> TaskHandle[R]:
        """Enqueue a task by name or object, its arguments apart from the options.

        Options as in :meth:`Task.options`; errors as in :meth:`add_task`.
        """
        options: Options = {
            "category": category,
            "priority": priority,
            "max_retries": max_retries,
            "retry": retry,
            "timeout": timeout,
            "delay": delay,
            "run_at": run_at,
            "unique_key": unique_key,
            "tags": tags,
        }
        if on_conflict is not None:
            options["on_conflict"] = on_conflict
        name = task.name if isinstance(task, Task) else task
        return TaskHandle(self, await self.enqueue_id(name, args, kwargs or {}, options))

    async def enqueue_id(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> str:
        """Enqueue one call and return its id; what the other forms are made of."""
        new = self._new_task(name, args, kwargs, options)
        return await (await self._local.engine()).add(new)

    async def enqueue_ids(
        self, name: str, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]], options: Options
    ) -> list[str]:
        """Enqueue many calls of one task and return their ids."""
        tasks = [
            self._new_task(name, (), call, options)
            if isinstance(call, Mapping)
            else self._new_task(name, _call(call), {}, options)
            for call in calls
        ]
        return await (await self._local.engine()).add_many(tasks)

    def _new_task(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> NewTask:
        if not self.enabled:
            raise QueueDisabledError
        if type(name) is not str:
            check_label(name, "a task's name")
        if isinstance(args, str | bytes) or not isinstance(args, Sequence):
            raise InvalidCallError(f"args must be a tuple or a list, not {args!r:.80}.")
        if not isinstance(kwargs, Mapping):
            raise InvalidCallError(f"kwargs must be a dict, not {kwargs!r:.80}.")
        return new_task(self._registry.get(name), args, kwargs, self._clock, **options)

    # -- look and change -----------------------------------------------------

    def handle(self, task_id: str) -> TaskHandle[Any]:
        """Return a handle for an id that was kept elsewhere."""
        return TaskHandle(self, task_id)

    async def get_task_info(self, task_id: str) -> TaskInfo | None:
        """Return a snapshot of a task; ``None`` if it is unknown or the queue is switched off."""
        engine = await self._reading()
        record = await engine.get(_id(task_id)) if engine else None
        return None if record is None else self._local.info(record)

    async def require_task_info(self, task_id: str) -> TaskInfo:
        """Return a snapshot of a task.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
        """
        info = await self.get_task_info(task_id)
        if info is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in {self.database}.")
        return info

    async def wait(self, task_id: str, timeout: float | None = None) -> TaskInfo:
        """Wait until a task has ended and return its snapshot.

        Args:
            task_id: of any task of this queue.
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TaskNotFoundError: the queue does not know it.
            TimeoutError: it did not end in time. It goes on.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        engine = await self._local.engine()
        return self._local.info(await engine.wait(_id(task_id), timeout))

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a waiting or running task; ``False`` if it has ended or is unknown.

        A running coroutine is cancelled. A running sync function can't be stopped: it
        sees ``current_task().cancelled``, and what it returns is ignored.
        """
        engine = await self._reading()
        return await engine.cancel(_id(task_id)) if engine else False

    async def retry_task(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue with a new retry budget; else ``False``."""
        engine = await self._reading()
        return await engine.retry(_id(task_id)) if engine else False

    async def get_tasks(
        self,
        category: str | None = None,
        status: TaskStatus | str | None = None,
        name: str | None = None,
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
    ) -> list[TaskInfo]:
        """Return tasks, newest first.

        Args:
            category: only of this category.
            status: only in this status.
            name: only of this task.
            limit: at most so many.
            offset: leave out so many of the newest.
            cursor: the id of the last task of the page before; cheaper than ``offset``.

        Raises:
            InvalidCallError: a value can't be what it has to be.
        """
        query = TaskFilter(
            category=None if category is None else check_label(category, "category"),
            status=None if status is None else _status(status),
            name=None if name is None else check_label(name, "name"),
            limit=check_count(limit, "limit", most=1_000_000),
            offset=check_count(offset, "offset"),
        )
        engine = await self._reading()
        if engine is None:
            return []
        return [self._local.info(item) for item in await engine.find(query, cursor)]

    async def cleanup_old_tasks(
        self,
        days: int | None = None,
        months: int | None = None,
        years: int | None = None,
        *,
        keep_history: bool = False,
    ) -> int:
        """Delete tasks that ended longer ago than the periods together; return how many.

        Args:
            days: ``0`` deletes all that have ended.
            months: of 30 days.
            years: of 365 days.
            keep_history: keep their transitions.

        Nothing given deletes nothing.
        """
        given = [
            (check_count(value, name, most=100_000), factor)
            for value, name, factor in (
                (days, "days", 1),
                (months, "months", 30),
                (years, "years", 365),
            )
            if value is not None
        ]
        engine = await self._reading() if given else None
        if engine is None:
            return 0
        age = timedelta(days=min(sum(value * factor for value, factor in given), 700_000))
        before = self._clock.now().replace(tzinfo=None) - age
        return await engine.services.storage.cleanup(before, keep_history=keep_history)

    # -- questions -----------------------------------------------------------

    async def get_task_stats(self) -> dict[str, Any]:
        """Return exact counts: total, by_status, by_category, running and queued."""
        if await self._reading() is None:
            return {"total": 0, "by_status": {}, "by_category": {}, "running": 0, "queued": 0}
        return await self._local.insights.stats()

    async def sql(self, query: str, *params: Any) -> QueryResult:
        """Run one read-only SQL query; it sees everything enqueued before.

        Args:
            query: one SELECT; ``?`` stands for a parameter. Tables ``tasks`` and
                ``transitions``, and the views of the reference.
            *params: the values, in order.

        Raises:
            QueryError: it was refused, or it failed.
            QueryTimeoutError: it took longer than ``WOPR_TASKS_QUERY_SECONDS``.
            QueueDisabledError: the queue is switched off.
        """
        if not self.enabled:
            raise QueueDisabledError
        await self._local.engine()
        return await self._local.insights.sql(query, params)

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands: running, delayed, behind others, …

        Raises:
            TaskNotFoundError: the queue does not know it.
        """
        engine = await self._reading()
        record = await engine.get(_id(task_id)) if engine else None
        if record is None:
            raise TaskNotFoundError(f"There is no task {task_id!r} in {self.database}.")
        return await self._local.insights.explain(record)

    async def get_history(self, task_id: str) -> list[HistoryEntry]:
        """Return every transition of a task, in order; empty if it is unknown."""
        if await self._reading() is None:
            return []
        return await self._local.insights.history(_id(task_id))

    # -- work ----------------------------------------------------------------

    async def start_workers(self, category: str = "default", worker_count: int = 1) -> None:
        """Add workers to a category; each runs one task at a time.

        Opens the queue and recovers what a restart left behind, if that was not
        done yet. Does nothing when the queue is switched off.

        Raises:
            InvalidCallError: ``worker_count`` is not a number from 1 to 10,000.
            StorageOwnedError: another process owns the file.
        """
        check_label(category, "category")
        check_count(worker_count, "worker_count", least=1, most=10_000)
        if not self.enabled:
            return
        await self._local.add_workers(category, worker_count)

    async def recover_tasks(self, category: str | None = None) -> int:
        """Put tasks that a dead process left STARTED back in the queue; return how many.

        Opening the queue does it by itself; calling it again runs nothing twice.
        """
        if not self.enabled:
            return 0
        return await (await self._local.engine()).recover(category)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Stop: claim nothing more, let running tasks finish, put the rest back, close.

        Args:
            timeout: grace time in seconds; ``None`` means ``WOPR_TASKS_SHUTDOWN_SECONDS``.
                What still runs then is interrupted and goes back to PENDING at no cost.

        May be called any number of times, also on a queue that was never used. The
        queue opens again when it is used again.
        """
        grace = self.settings.shutdown_seconds
        if timeout is not None:
            grace = check_seconds(timeout, "timeout", zero="allow")
        await self._local.stop(grace)

    async def __aenter__(self) -> Self:
        if self.enabled:
            await self._local.engine()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.shutdown()

    def sync(self) -> SyncQueue:
        """Return the way to use this queue from code without an event loop."""
        return SyncQueue(self)

    # -- inside --------------------------------------------------------------

    async def _reading(self) -> Any:
        """Return the engine for a read; ``None`` if there is nothing to read."""
        if not self.enabled or not self._local.exists():
            return None
        return await self._local.engine()


def _id(task_id: object) -> str:
    if not isinstance(task_id, str):
        raise InvalidCallError(f"A task id is a str, not {type(task_id).__name__} {task_id!r:.80}.")
    return task_id


def _status(value: TaskStatus | str) -> TaskStatus:
    try:
        return TaskStatus(value)
    except ValueError:
        names = ", ".join(status.value for status in TaskStatus)
        raise InvalidCallError(f"status must be one of {names}, not {value!r:.80}.") from None


def _call(call: Any) -> tuple[Any, ...]:
    if not isinstance(call, tuple | list):
        raise InvalidCallError(
            f"enqueue_many() takes a tuple of positional or a dict of keyword arguments per call, "
            f"not {call!r:.80}. For one argument write (value,)."
        )
    return tuple(call)


