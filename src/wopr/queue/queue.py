"""TaskQueue: the composition root; puts the core and its faces together."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from wopr.auth.config import Auth
from wopr.config.primary import should_run_background_workers
from wopr.config.settings import Settings, led_outside
from wopr.core.core import Core
from wopr.core.task import Task
from wopr.domain.address import database_of
from wopr.domain.checks import check_count, check_label, check_seconds
from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import shown
from wopr.domain.task import TaskInfo
from wopr.engine.pools.lanes import Lanes
from wopr.queue.acting import Acting
from wopr.queue.controls import Controls
from wopr.queue.enqueueing import Enqueueing
from wopr.queue.face import inside
from wopr.queue.flows import Flows
from wopr.queue.hooks import Hooks
from wopr.queue.including import Including
from wopr.queue.insights import Insights
from wopr.queue.overtime import OverTime
from wopr.queue.registration import Registration
from wopr.queue.resources import Resources
from wopr.queue.sync import SyncQueue
from wopr.running.attempt import Worker
from wopr.storage.seed.noop import NoopStorage

__all__ = ["TaskQueue", "inside"]

log = logging.getLogger(__name__)


class TaskQueue(
    Registration,
    Including,
    Resources,
    Hooks,
    Enqueueing,
    Flows,
    Insights,
    OverTime,
    Controls,
    Acting,
):
    """A durable queue of tasks in one DuckDB file.

    Args:
        enabled: whether it does anything; ``None`` reads ``WOPR_TASKS_ENABLED`` now.
        storage_factory: called once, without arguments, for the storage; useful in tests.
        database: the file; or ``https://…``, where `wopr web` serves one of another machine, with
            the token of the settings. ``None`` means ``WOPR_TASKS_DATABASE`` or
            ``wopr_tasks.duckdb``.
        settings: all other settings; ``None`` reads the environment now.
        clock: source of time.
        rng: source of randomness, for jitter.
        auth: how protected tasks are checked; ``None`` refuses to enqueue and to run them.
        tasks: declared without a queue, or modules with such tasks; see :meth:`include`.

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
        tasks: Iterable[Task[..., Any] | ModuleType] = (),
    ) -> None:
        _check_given(enabled, database, tasks)
        if settings is None:
            settings = Settings()
            if database is None and (said := led_outside(settings.database)) is not None:
                log.warning(said)
        self._core = Core(
            enabled=settings.enabled if enabled is None else bool(enabled),
            database=database_of(database) if database is not None else settings.database,
            settings=settings,
            clock=clock or SystemClock(),
            rng=rng or random.Random(),
            auth=auth,
            storage_factory=storage_factory,
        )
        self.shutdown_event = asyncio.Event()
        """Set by :meth:`shutdown`, until workers are started again."""
        self._find_by_name()
        self.include(*tasks)

    # -- what there is -------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether it does anything; may be set while it is closed."""
        return self._core.enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._core.enabled = enabled

    @property
    def database(self) -> Path:
        """The file that tasks are stored in; may be set while it is closed."""
        return self._core.database

    @database.setter
    def database(self, database: Path) -> None:
        self._core.database = database

    @property
    def settings(self) -> Settings:
        """All other settings, as they were when the queue was built."""
        return self._core.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._core.settings = settings

    @property
    def auth(self) -> Auth | None:
        """How protected tasks are checked; ``None`` refuses them."""
        return self._core.auth

    @auth.setter
    def auth(self, auth: Auth | None) -> None:
        self._core.auth = auth

    @property
    def storage(self) -> Any:
        """The storage; made on first access, a :class:`NoopStorage` when switched off."""
        return self._core.access.storage if self._core.enabled else NoopStorage()

    @property
    def _storage(self) -> Any:
        """The storage if one was made, else ``None``: a look makes none."""
        return self._core.access.made

    @property
    def queues(self) -> dict[str, Lanes]:
        """The waiting tasks in memory, by category."""
        return {name: pool.lanes for name, pool in self._core.access.pools.items()}

    @property
    def workers(self) -> dict[str, list[Worker]]:
        """The worker slots, by category."""
        return {
            name: list(pool.workers)
            for name, pool in self._core.access.slots.items()
            if pool.workers
        }

    @property
    def running_tasks(self) -> dict[str, TaskInfo]:
        """Snapshots of the tasks that run in this process, by id."""
        return {
            task_id: self._core.info_of(attempt.record)
            for pool in self._core.access.slots.values()
            for task_id, attempt in pool.running.items()
        }

    @property
    def task_functions(self) -> dict[str, Callable[..., Any]]:
        """The registered functions, by task name."""
        return {name: item.function for name, item in self._core.registry.definitions.items()}

    # -- work ----------------------------------------------------------------

    async def start_workers(
        self,
        category: str = "default",
        worker_count: int = 1,
        *,
        skip_worker_check: bool = True,
    ) -> None:
        """Add workers to a category; each runs one task at a time.

        Opens the queue and recovers what a restart left behind, if that was not
        done yet. They run in the process that owns the file: where that is another one, which
        has workers of its own, they start here as soon as it goes. Does nothing when the queue
        is switched off.

        Args:
            category: of the tasks that they run.
            worker_count: how many more.
            skip_worker_check: ``False`` starts none where
                :func:`wopr.should_run_background_workers` says no.

        Raises:
            InvalidCallError: ``worker_count`` is not a number from 1 to 10,000; or the queue is
                at an address, and workers run on the machine that has its file.
            StorageOwnedError: another process owns the file, and can't be asked for it.
        """
        category = check_label(category, "category")
        worker_count = check_count(worker_count, "worker_count", least=1, most=10_000)
        if not self._core.enabled or not (skip_worker_check or should_run_background_workers()):
            return
        self._core.access.check_workers()
        self.shutdown_event.clear()
        await self._core.access.standby.add(category, worker_count)

    async def start_scheduler(self, interval: float = 1.0, *, blocking: bool = False) -> None:
        """Fire schedules when they are due, until :meth:`shutdown`. Idempotent.

        ``start_workers`` does it by itself, unless ``WOPR_TASKS_SCHEDULER`` is off. In a
        process that does not own the file it asks the owner to look at the clock, and
        takes over when the owner is gone.

        Args:
            interval: seconds between two looks at the clock, at most. It sleeps until the
                next schedule is due; this bounds how late it notices that the clock was set.
            blocking: return only at the shutdown.

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not, or in a
                circle on itself.
            StorageError: the storage can't be opened, read or written.
        """
        seconds = check_seconds(interval, "interval", zero="refuse")
        if not self._core.enabled:
            return
        self._core.access.check_workers()
        await self._core.access.clockwork.start(seconds)
        if blocking:
            await self._core.access.clockwork.ended()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Stop: claim nothing more, let running tasks finish, put the rest back, close.

        Args:
            timeout: grace time in seconds; ``None`` means ``WOPR_TASKS_SHUTDOWN_SECONDS``.
                What still runs then is interrupted and goes back to PENDING at no cost.

        May be called any number of times, also on a queue that was never used; with 0 it
        ends the grace time of a call that is under way. The queue opens again when it is
        used again.
        """
        grace = self._core.settings.shutdown_seconds
        if timeout is not None:
            grace = check_seconds(timeout, "timeout", zero="allow")
        self.shutdown_event.set()
        self._core.was_shut_down = True
        await self._core.access.stop(grace)

    async def __aenter__(self) -> Self:
        if self._core.enabled:
            await self._core.access.backend()
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


def _check_given(enabled: object, database: object, tasks: object) -> None:
    """Refuse what is no switch, no path or no list, before it is taken for one."""
    if enabled is not None and type(enabled) not in (bool, int):
        raise InvalidCallError(
            f"enabled must be True, False or None, not {shown(enabled)}. The file is given by "
            f'name: TaskQueue(database="tasks.duckdb").'
        )
    if database is not None and not isinstance(database, str | Path):
        raise InvalidCallError(f"database must be a path, a str or a Path, not {shown(database)}.")
    if isinstance(tasks, str) or not isinstance(tasks, Iterable):
        raise InvalidCallError(
            f"tasks must be a list of tasks that were declared with @wopr.task, and of modules "
            f"with such tasks, like [shop.mail, shop.orders], not {shown(tasks)}."
        )
