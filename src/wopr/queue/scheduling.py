"""What is done by time: the part of :class:`wopr.TaskQueue` that is about schedules."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from wopr.access.access import Access
from wopr.auth.config import Auth
from wopr.calls.registry import Registry
from wopr.calls.tasks import check_seconds
from wopr.core.schedules import ScheduleMaker, ScheduleOptions, Schedules
from wopr.core.task import AsyncTask, SyncTask, Task
from wopr.domain.clock import Clock

if TYPE_CHECKING:
    from wopr.queue.queue import TaskQueue

P = ParamSpec("P")
R = TypeVar("R")
AnyTask = TypeVar("AnyTask", bound=Task[..., Any])

_OF_THE_TASK = ("category", "priority", "max_retries", "retry", "timeout")


class ScheduleDecorator(Protocol):
    """What ``queue.schedule(…)`` returns."""

    @overload
    def __call__(self, function: AnyTask, /) -> AnyTask: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]  # the first that fits wins
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class Scheduling:
    """Schedules in code, schedules at run time, and the scheduler."""

    enabled: bool
    auth: Auth | None
    _opening: Access
    _registry: Registry
    _clock: Clock

    @cached_property
    def schedules(self) -> Schedules:
        """The schedules of this queue: add, list, pause, preview and more."""
        return Schedules(cast("TaskQueue", self), self._opening, self._maker)

    @cached_property
    def _maker(self) -> ScheduleMaker:
        return ScheduleMaker(self._registry, self._clock, self.auth)

    def schedule(
        self, *, name: str | None = None, **options: Unpack[ScheduleOptions]
    ) -> ScheduleDecorator:
        """Declare a schedule of a task: above ``@queue.task``, or on a plain function.

        The rows follow the code when the scheduler starts: a new schedule is added, a
        changed one is changed, and one that is not declared any more is paused.

        Args:
            name: of the schedule; ``None`` means the name of the task.
            **options: see :class:`wopr.core.scheduleinfo.ScheduleOptions`. On a plain function
                ``category``, ``priority``, ``max_retries``, ``retry`` and ``timeout`` are
                those of its task.

        Raises:
            InvalidScheduleSpecificationError: not exactly one of ``every``, ``interval``,
                ``at``, ``crontab``, ``cron`` and ``run_at`` is given, or it can't be read.
            DuplicateScheduleError: another schedule is declared under this name.
            InvalidCallError: another value, or an argument of the function, is wrong.
        """

        def declare(function: Any) -> Any:
            task, rest = function, cast("dict[str, Any]", options)
            if not isinstance(task, Task):
                given = {key: rest[key] for key in _OF_THE_TASK if rest.get(key) is not None}
                task = cast("TaskQueue", self).task(**given)(function)
                rest = {key: value for key, value in rest.items() if key not in given}
            self.schedules.declare(name, task, **rest)
            return task

        return cast("ScheduleDecorator", declare)

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
        if not self.enabled:
            return
        await self._opening.clockwork.start(seconds)
        if blocking:
            await self.schedules.ended()
