"""TaskQueue: the composition root and the verbs that applications call."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from wopr.access.access import Access
from wopr.auth.config import Auth
from wopr.calls.tasks import check_count, check_seconds, new_task
from wopr.config.settings import Settings
from wopr.core.task import Options, Task, TaskHandle
from wopr.domain.checks import check_id, check_label
from wopr.domain.clock import Clock, SystemClock
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import (
    InvalidCallError,
    QueueDisabledError,
)
from wopr.domain.jsontext import safe_text, shown
from wopr.domain.newtask import NewTask, OnParentFailure
from wopr.domain.status import TaskPriority
from wopr.domain.task import TaskInfo
from wopr.engine.pools.lanes import Lanes
from wopr.queue.controls import Controls
from wopr.queue.flows import Flows
from wopr.queue.hooks import Hooks
from wopr.queue.insights import Insights
from wopr.queue.registration import Registration
from wopr.queue.resources import Resources
from wopr.queue.scheduling import Scheduling
from wopr.queue.sync import SyncQueue
from wopr.running.worker import Worker
from wopr.storage.seed.noop import NoopStorage

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class TaskQueue(Registration, Insights, Flows, Scheduling, Hooks, Controls, Resources):
    """A durable queue of tasks in one DuckDB file.

    Args:
        enabled: whether it does anything; ``None`` reads ``WOPR_TASKS_ENABLED`` now.
        storage_factory: called once, without arguments, for the storage; useful in tests.
        database: the file; ``None`` means ``WOPR_TASKS_DATABASE`` or ``wopr_tasks.duckdb``.
        settings: all other settings; ``None`` reads the environment now.
        clock: source of time.
        rng: source of randomness, for jitter.
        auth: how protected tasks are checked; ``None`` refuses to enqueue and to run them.

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
        auth: Auth | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.enabled = self.settings.enabled if enabled is None else bool(enabled)
        self.database = Path(database) if database is not None else self.settings.database
        self._clock = clock or SystemClock()
        super().__init__(
            PayloadLimits(args=self.settings.max_args_bytes, result=self.settings.max_result_bytes),
            auth,
        )
        self._opening = Access(
            self.settings,
            self.database,
            storage_factory,
            self._registry,
            self._clock,
            rng or random.Random(),
        )
        self._opening.as_service = None if auth is None else auth.as_service

    # -- what there is -------------------------------------------------------

    @property
    def storage(self) -> Any:
        """The storage; made on first access, a :class:`NoopStorage` when switched off."""
        return self._opening.storage if self.enabled else NoopStorage()

    @property
    def queues(self) -> dict[str, Lanes]:
        """The waiting tasks in memory, by category."""
        return {name: pool.lanes for name, pool in self._opening.pools.items()}

    @property
    def workers(self) -> dict[str, list[Worker]]:
        """The worker slots, by category."""
        return {
            name: list(pool.workers) for name, pool in self._opening.pools.items() if pool.workers
        }

    @property
    def running_tasks(self) -> dict[str, TaskInfo]:
        """Snapshots of the tasks that run in this process, by id."""
        return {
            task_id: self._opening.info(attempt.record)
            for pool in self._opening.pools.values()
            for task_id, attempt in pool.running.items()
        }

    @property
    def task_functions(self) -> dict[str, Callable[..., Any]]:
        """The registered functions, by task name."""
        return {name: item.function for name, item in self._registry.definitions.items()}

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
        soft_timeout: float | timedelta | None = None,
        delay: float | timedelta | None = None,
        run_at: datetime | None = None,
        unique_key: str | None = None,
        on_conflict: Any = None,
        tags: Sequence[str] = (),
        depends_on: Any = None,
        on_parent_failure: OnParentFailure = OnParentFailure.CANCEL,
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
            "soft_timeout": soft_timeout,
            "delay": delay,
            "run_at": run_at,
            "unique_key": unique_key,
            "tags": tags,
            "on_parent_failure": on_parent_failure,
        }
        if depends_on is not None:
            options["depends_on"] = depends_on
        if on_conflict is not None:
            options["on_conflict"] = on_conflict
        name = task.name if isinstance(task, Task) else task
        return TaskHandle(
            self, await self.enqueue_id(name, args, {} if kwargs is None else kwargs, options)
        )

    async def enqueue_id(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> str:
        """Enqueue one call and return its id; what the other forms are made of."""
        new = self._new_task(name, args, kwargs, options)
        return await (await self._opening.backend()).add(new)

    async def enqueue_ids(
        self, name: str, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]], options: Options
    ) -> list[str]:
        """Enqueue many calls of one task and return their ids."""
        tasks = [
            self._new_task(name, call, {}, options)
            if type(call) is tuple
            else self._new_task(name, *_call(call), options)
            for call in _iterated(calls)
        ]
        return await (await self._opening.backend()).add_many(tasks)

    def _new_task(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
    ) -> NewTask:
        if not self.enabled:
            raise QueueDisabledError
        if type(name) is not str:
            name = check_label(name, "a task's name")
        if type(args) is not tuple and not isinstance(args, list | tuple):
            raise InvalidCallError(f"args must be a tuple or a list, not {shown(args)}.")
        if type(kwargs) is not dict and not isinstance(kwargs, Mapping):
            raise InvalidCallError(f"kwargs must be a dict, not {shown(kwargs)}.")
        try:
            values = tuple(args)
            named = kwargs if type(kwargs) is dict else dict(kwargs)
        except Exception as error:
            raise InvalidCallError(f"The arguments can't be read: {safe_text(error)}") from error
        return new_task(self._registry.get(name), values, named, self._clock, options)

    # -- look and change -----------------------------------------------------

    def handle(self, task_id: str) -> TaskHandle[Any]:
        """Return a handle for an id that was kept elsewhere."""
        return TaskHandle(self, task_id)

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a waiting or running task; ``False`` if it has ended or is unknown.

        A running coroutine is cancelled. A running sync function can't be stopped: it
        sees ``current_task().cancelled``, and what it returns is ignored.
        """
        backend = await self._reading()
        return await backend.cancel(check_id(task_id)) if backend else False

    async def retry_task(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue with a new retry budget; else ``False``."""
        backend = await self._reading()
        return await backend.retry(check_id(task_id)) if backend else False

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
        backend = await self._reading() if given else None
        if backend is None:
            return 0
        age = timedelta(days=min(sum(value * factor for value, factor in given), 700_000))
        before = self._clock.now().replace(tzinfo=None) - age
        return await backend.cleanup(before, keep_history=keep_history)

    # -- work ----------------------------------------------------------------

    async def start_workers(self, category: str = "default", worker_count: int = 1) -> None:
        """Add workers to a category; each runs one task at a time.

        Opens the queue and recovers what a restart left behind, if that was not
        done yet. Does nothing when the queue is switched off.

        Raises:
            InvalidCallError: ``worker_count`` is not a number from 1 to 10,000.
            StorageOwnedError: another process owns the file.
        """
        category = check_label(category, "category")
        worker_count = check_count(worker_count, "worker_count", least=1, most=10_000)
        if not self.enabled:
            return
        await self._opening.add_workers(category, worker_count)

    async def recover_tasks(self, category: str | None = None) -> int:
        """Put tasks that a dead process left STARTED back in the queue; return how many.

        Opening the queue does it by itself; calling it again runs nothing twice.
        """
        if category is not None:
            category = check_label(category, "category")
        backend = await self._reading()
        return await backend.recover(category) if backend else 0

    async def shutdown(self, timeout: float | None = None) -> None:
        """Stop: claim nothing more, let running tasks finish, put the rest back, close.

        Args:
            timeout: grace time in seconds; ``None`` means ``WOPR_TASKS_SHUTDOWN_SECONDS``.
                What still runs then is interrupted and goes back to PENDING at no cost.

        May be called any number of times, also on a queue that was never used; with 0 it
        ends the grace time of a call that is under way. The queue opens again when it is
        used again.
        """
        grace = self.settings.shutdown_seconds
        if timeout is not None:
            grace = check_seconds(timeout, "timeout", zero="allow")
        await self._opening.stop(grace)

    async def __aenter__(self) -> Self:
        if self.enabled:
            await self._opening.backend()
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

    def _registered(self, name: str) -> None:
        self._opening.registered(name)

    def _categorised(self, category: str) -> None:
        self._opening.categorised(category)


def _call(call: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(call, Mapping):
        return (), call
    if not isinstance(call, tuple | list):
        raise InvalidCallError(
            f"enqueue_many() takes a tuple of positional or a dict of keyword arguments per call, "
            f"not {shown(call)}. For one argument write (value,)."
        )
    return tuple(call), {}


def _iterated(calls: Any) -> Iterator[Any]:
    try:
        return iter(calls)
    except Exception as error:
        raise InvalidCallError(
            "enqueue_many() takes a list of calls, each a tuple of positional or a dict of keyword "
            f"arguments, not {shown(calls)}."
        ) from error
