"""Periodic tasks for a worker that calls an API: ``TaskScheduler`` and ``BaseTask``.

The form that programs of the asyncio worker template have, over a durable queue: each run is
a task with its history, a run that fails ends nothing, and a restart goes on with the plan.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, TypeVar

from wopr.domain.callables import is_async_callable
from wopr.domain.clock import SystemClock
from wopr.domain.errors import DuplicateTaskError, InvalidCallError
from wopr.domain.jsontext import shown
from wopr.queue.queue import TaskQueue

log = logging.getLogger(__name__)

Client = TypeVar("Client")
CATEGORY = "periodic"


class BaseTask(ABC, Generic[Client]):
    """A periodic task as a class: its settings, and :meth:`execute`."""

    name: str = "base_task"
    interval_seconds: float = 60
    run_on_start: bool = False

    @cached_property
    def logger(self) -> logging.Logger:
        """The logger of the task, named after its class."""
        return logging.getLogger(type(self).__name__)

    @abstractmethod
    async def execute(self, api_client: Client) -> Any:
        """Do the work once."""

    async def __call__(self, api_client: Client) -> Any:
        """Do the work once, as a handler of :class:`TaskScheduler`."""
        return await self.execute(api_client)


class TaskScheduler(Generic[Client]):
    """Runs handlers at fixed intervals, each given ``api_client``.

    Args:
        api_client: handed to every handler.
        queue: where runs are tasks; ``None`` makes one, in ``WOPR_TASKS_DATABASE``.
        workers: how many handlers may run at once.

    A handler never overlaps itself: what is due while it runs is left out. Intervals count
    from plan to plan, so a long run shifts nothing.
    """

    def __init__(
        self, api_client: Client, queue: TaskQueue | None = None, *, workers: int = 10
    ) -> None:
        self.api_client = api_client
        self.queue = queue or TaskQueue(enabled=True)
        self.logger = log
        self.tasks: dict[str, dict[str, Any]] = {}
        """By name: ``handler``, ``interval``, ``run_on_start``, and ``last_run``: when this process
        last called it, in UTC."""
        self._workers = workers
        self._started = False
        self._clock = SystemClock()

    def register_task(
        self,
        name: str,
        handler: Callable[[Client], Awaitable[Any]],
        interval_seconds: float | timedelta,
        run_on_start: bool = False,
        *,
        max_retries: int = 0,
        timeout: float | timedelta | None = None,
    ) -> None:
        """Run a handler every ``interval_seconds``; also after :meth:`start`.

        Args:
            name: of the task and of its schedule, in the queue's file too.
            handler: a coroutine function of the client, or a :class:`BaseTask`. What it
                returns is not kept.
            interval_seconds: more than 0.
            run_on_start: whether it also runs at each start.
            max_retries: how often a run that failed is tried again before the next one.
            timeout: seconds that one run may take.

        Raises:
            DuplicateTaskError: the name is taken.
            InvalidCallError: a value can't be what it has to be.
        """
        if name in self.tasks or name in self.queue.task_functions:
            raise DuplicateTaskError(
                f"A task {name!r} is registered already. Give this one another name."
            )
        if not is_async_callable(handler):
            raise InvalidCallError(
                f"The handler of {name!r} must be a coroutine function of the API client (async "
                f"def), or a BaseTask, not {shown(handler)}."
            )
        task = self.queue.task(
            name=name, category=CATEGORY, max_retries=max_retries, timeout=timeout
        )(self._run_of(name, handler))
        self.queue.schedule(name=name, interval=interval_seconds, run_on_start=run_on_start)(task)
        self.tasks[name] = {
            "handler": handler,
            "interval": interval_seconds,
            "run_on_start": run_on_start,
            "last_run": None,
        }

    def _run_of(
        self, name: str, handler: Callable[[Client], Awaitable[Any]]
    ) -> Callable[[], Awaitable[None]]:
        clock = self._clock

        async def run() -> None:
            self.tasks[name]["last_run"] = clock.now()
            log.info("Task %s starts.", name)
            began = clock.monotonic()
            try:
                await handler(self.api_client)
            except Exception as error:
                log.error("Task %s failed: %s: %s", name, type(error).__name__, error)
                raise
            log.info("Task %s ended after %.3f s.", name, clock.monotonic() - began)

        return run

    async def start(self) -> None:
        """Run what is due from now on, until :meth:`stop`. Idempotent.

        Raises:
            StorageOwnedError: another process owns the queue's file.
            StorageError: it can't be opened.
        """
        if self._started:
            return
        self._started = True
        try:
            await self.queue.start_workers(CATEGORY, self._workers)
            await self.queue.start_scheduler()
        except BaseException:
            self._started = False
            raise

    async def stop(self, timeout: float | None = None) -> None:
        """Start nothing more, let running handlers finish, and shut the queue down. Idempotent.

        Args:
            timeout: grace time in seconds; ``None`` means ``WOPR_TASKS_SHUTDOWN_SECONDS``.
                What still runs then is interrupted, and runs again after the next start.
        """
        self._started = False
        await self.queue.shutdown(timeout)
