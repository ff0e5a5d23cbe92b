"""Schedules for people: ``queue.schedules``, and the snapshot of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from wopr.access.access import Access
from wopr.auth.config import Auth
from wopr.calls.registry import Registry
from wopr.calls.schedules import check_name, new_schedule, with_options
from wopr.calls.tasks import check_count
from wopr.core.task import Task, TaskHandle
from wopr.domain.checks import check_label
from wopr.domain.clock import Clock
from wopr.domain.codec import decode_plain
from wopr.domain.crontab import Crontab
from wopr.domain.errors import InvalidCallError, QueueDisabledError
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.schedule import Schedule, preview
from wopr.domain.scheduleoptions import Every
from wopr.domain.snapshot import decode_options
from wopr.domain.standing import Standing, unknown
from wopr.domain.status import TaskPriority
from wopr.domain.triggers import Interval, Trigger

if TYPE_CHECKING:
    from wopr.ports.backend import ScheduleBackend
    from wopr.queue.queue import TaskQueue

MOST_PREVIEWED = 10_000
PAUSED_BY_HAND = "paused by hand"


class ScheduleOptions(TypedDict, total=False):
    """What a schedule can be told; exactly one of ``every`` to ``run_at`` says when it fires."""

    every: Every | None
    """``{"minutes": 5}``, a timedelta or seconds."""
    interval: timedelta | float | None
    """A timedelta or seconds."""
    at: str | time | None
    """Daily: ``"14:30"`` or a time."""
    crontab: Crontab | str | None
    cron: str | None
    """An expression of 5 fields, or 6 with the second first."""
    run_at: datetime | None
    """Once. A naive one is a wall time in ``tz``."""
    tz: str | None
    """Name of the time zone of these; default UTC."""
    args: Sequence[Any]
    kwargs: Mapping[str, Any] | None
    misfire: Misfire | None
    """What to do about occurrences later than ``misfire_grace``; default RUN_ONCE."""
    misfire_grace: float | timedelta | None
    """Seconds; default 60."""
    misfire_limit: int | None
    """Most occurrences that one look at the clock fires; default 100."""
    overlap: Overlap | None
    """What to do while an earlier run goes on; default SKIP, with RUN_ALL it is ALLOW."""
    jitter: float | timedelta | None
    """Seconds; each task is due up to so much later, at random. The plan stays."""
    start_at: datetime | None
    end_at: datetime | None
    run_on_start: bool | None
    """Whether it also fires each time the scheduler starts."""
    depends_on: Sequence[str]
    """Schedules that have to succeed once before; their newest results are ``dep_<name>``."""
    run_as: str | None
    """The service identity that protected tasks run under."""
    category: str | None
    priority: TaskPriority | None
    max_retries: int | None
    retry: Any
    timeout: float | timedelta | None
    tags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A snapshot of one schedule. Times are aware, in UTC.

    ``reason`` and ``text`` say what it is doing, and what has to happen for it to fire.
    ``reason`` is one of: planned, due, paused, ended, unreadable, no scheduler, waiting,
    overlap, unregistered.
    """

    name: str
    task: str
    category: str
    priority: TaskPriority
    max_retries: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    trigger: Trigger
    description: str
    """When it fires, in words."""
    misfire: Misfire
    misfire_grace: float
    misfire_limit: int
    overlap: Overlap
    jitter: float
    start_at: datetime | None
    end_at: datetime | None
    run_on_start: bool
    depends_on: tuple[str, ...]
    run_as: str | None
    tags: tuple[str, ...]
    origin: str
    """``code`` if a decorator declares it, else ``call``."""
    paused_at: datetime | None
    paused_reason: str | None
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_task_id: str | None
    missed: int
    skipped: int
    created_at: datetime | None
    updated_at: datetime | None
    live: tuple[str, ...]
    """Ids of its tasks that have not ended."""
    reason: str
    text: str

    @property
    def paused(self) -> bool:
        """Whether it is paused, by hand or because its code is gone."""
        return self.paused_at is not None

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class ScheduleMaker:
    """Makes the rows of schedules from what people ask for."""

    registry: Registry
    clock: Clock
    auth: Auth | None

    def new(
        self,
        name: str | None,
        task: str | Task[..., Any],
        options: Mapping[str, Any],
        *,
        origin: str,
    ) -> Schedule:
        """Return a new schedule; without a name it has the one of its task.

        Raises:
            TaskNotRegisteredError: nothing has the task's name.
            InvalidCallError: a value is wrong.
        """
        label = task.name if isinstance(task, Task) else check_label(task, "task")
        definition = self.registry.get(label)
        new = new_schedule(
            definition, label if name is None else name, self.clock, options, origin=origin
        )
        self._check_identity(new)
        return new

    def changed(self, old: Schedule, options: Mapping[str, Any]) -> Schedule:
        """Return a schedule with some options changed.

        Raises:
            InvalidCallError: a value is wrong.
        """
        definition = self.registry.definitions.get(old.task)
        new = with_options(old, definition, self.clock, options)
        self._check_identity(new)
        return new

    def _check_identity(self, schedule: Schedule) -> None:
        if schedule.run_as is not None and self.auth is not None:
            self.auth.service_identity(schedule.run_as)


Infos = list[ScheduleInfo]
Moments = list[datetime]
Ids = list[str]


class Schedules:
    """The schedules of one queue, in this process or through the one that owns the file."""

    def __init__(self, queue: TaskQueue, access: Access, maker: ScheduleMaker) -> None:
        self._queue = queue
        self._opening = access
        self._maker = maker

    async def add(
        self, name: str, task: str | Task[..., Any], **options: Unpack[ScheduleOptions]
    ) -> ScheduleInfo:
        """Add a schedule; it is on disk when this returns.

        Args:
            name: of the schedule.
            task: registered in this process, or its name.
            **options: see :class:`ScheduleOptions`.

        Raises:
            DuplicateScheduleError: the name is taken.
            InvalidScheduleSpecificationError: when it fires can't be read.
            TaskNotRegisteredError: nothing has the task's name.
            InvalidCallError: another value or an argument is wrong; nothing was written.
            QueueDisabledError: the queue is switched off.
        """
        new = self._maker.new(check_name(name), task, options, origin="call")
        backend = await self._writing()
        return self._info(*await backend.add(new))

    def declare(
        self,
        name: str | None,
        task: str | Task[..., Any],
        *,
        at_once: bool = False,
        **options: Unpack[ScheduleOptions],
    ) -> None:
        """Declare a schedule as ``@queue.schedule`` does: its row follows the code.

        Args:
            name: of the schedule; ``None`` means the name of the task.
            task: registered in this process, or its name.
            at_once: whether a new one fires now for the first time; only for intervals.
            **options: see :class:`ScheduleOptions`.

        Raises:
            DuplicateScheduleError: another one is declared under this name.
            InvalidCallError: a value or an argument is wrong.
        """
        new = self._maker.new(name, task, options, origin="code")
        if at_once and isinstance(new.trigger, Interval):
            new.next_fire_at = self._maker.clock.now()
            new.trigger = new.trigger.anchored(new.next_fire_at)
        self._opening.clockwork.declare(new)

    def withdraw(self, name: str) -> None:
        """Declare a schedule no more; its row stays as it is. Unknown names are ignored."""
        self._opening.clockwork.withdraw(name)

    async def sync(self) -> None:
        """Bring the rows up to what is declared, as the start of the scheduler does.

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not.
            QueueDisabledError: the queue is switched off.
        """
        await self._writing()
        await self._opening.clockwork.sync()

    async def ended(self) -> None:
        """Return when the scheduler of this queue is stopped; at once if none runs."""
        await self._opening.clockwork.ended()

    async def get(self, name: str) -> ScheduleInfo:
        """Return a schedule.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        return self._info(*await (await self._reading(name)).get(check_name(name)))

    async def list(self) -> Infos:
        """Return all schedules, by name; empty if the queue is switched off."""
        if not self._queue.enabled or not self._opening.exists():
            return []
        return [self._info(*view) for view in await (await self._writing()).all()]

    async def update(self, name: str, **options: Unpack[ScheduleOptions]) -> ScheduleInfo:
        """Change some options of a schedule; where it stands is kept.

        It is planned anew only if when it fires changes. ``args`` and ``kwargs`` replace
        the whole call. What a decorator declares comes back with the next start.

        Raises:
            ScheduleNotFoundError: there is none of this name.
            InvalidCallError: a value is wrong; nothing was changed.
        """
        backend = await self._reading(name)
        old, _ = await backend.get(check_name(name))
        return self._info(*await backend.replace(self._maker.changed(old, options)))

    async def pause(self, name: str, reason: str = PAUSED_BY_HAND) -> ScheduleInfo:
        """Fire it no more until :meth:`resume`.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        why = check_label(reason, "reason", longest=500)
        return self._info(*await (await self._reading(name)).pause(check_name(name), why))

    async def resume(self, name: str) -> ScheduleInfo:
        """Go on with the next occurrence after now; what was due meanwhile is left out.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        return self._info(*await (await self._reading(name)).resume(check_name(name)))

    async def run_now(self, name: str) -> TaskHandle[Any]:
        """Enqueue one task at once, paused or not; it is no occurrence of the plan.

        Raises:
            ScheduleNotFoundError: there is none of this name.
            InvalidCallError: a schedule that it depends on never succeeded.
        """
        task_id = await (await self._reading(name)).run_now(check_name(name))
        return TaskHandle(self._queue, task_id)

    async def remove(self, name: str) -> None:
        """Delete a schedule; its tasks stay. A decorator adds it again at the next start.

        Raises:
            ScheduleNotFoundError: there is none of this name.
            InvalidCallError: others depend on it.
        """
        await (await self._reading(name)).remove(check_name(name))

    async def preview(self, name: str, n: int = 5) -> Moments:
        """Return the next ``n`` planned times after now, in UTC; of a paused one too.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        count = check_count(n, "n", most=MOST_PREVIEWED)
        row, _ = await (await self._reading(name)).get(check_name(name))
        return preview(row, count, self._maker.clock.now())

    async def tick(self) -> Ids:
        """Look at the clock now and fire what is due; return the ids of the tasks.

        The scheduler does it by itself: this is for programs that run none.

        Raises:
            StorageError: what is due is fired by one of the next looks.
        """
        if not self._queue.enabled or not self._opening.exists():
            return []
        return await (await self._writing()).tick()

    # -- inside -------------------------------------------------------------

    async def _writing(self) -> ScheduleBackend:
        if not self._queue.enabled:
            raise QueueDisabledError
        return (await self._opening.backend()).schedules

    async def _reading(self, name: str) -> ScheduleBackend:
        """Return the backend; a queue that is off, or has no file, has no schedule."""
        if not self._queue.enabled or not self._opening.exists():
            raise unknown(check_name(name), ())
        return await self._writing()

    def _info(self, row: Schedule, standing: Standing) -> ScheduleInfo:
        args, kwargs = self._call(row)
        options = decode_options(row.options) if row.options else {}
        return ScheduleInfo(
            args=args,
            kwargs=kwargs,
            priority=TaskPriority(row.priority),
            description=row.trigger.describe(),
            tags=tuple(options.get("tags", ())),
            live=standing.live,
            reason=standing.reason,
            text=standing.text,
            **{name: getattr(row, name) for name in _AS_STORED},
        )

    def _call(self, row: Schedule) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments by the function's annotations, or else as plain JSON.

        Those that are results of other schedules have no value yet.
        """
        options = decode_options(row.options) if row.options else {}
        results = options.get("results", {}).get("kwargs", {})
        definition = self._maker.registry.definitions.get(row.task)
        if definition is not None and not results:
            try:
                return definition.codec.decode_call(row.args, row.kwargs)
            except InvalidCallError:
                pass
        args: Any = decode_plain(row.args)
        kwargs: Any = decode_plain(row.kwargs)
        return tuple(args), {key: kwargs[key] for key in kwargs if key not in results}


_AS_STORED = tuple(
    name
    for name in ScheduleInfo.__dataclass_fields__
    if name in Schedule.__dataclass_fields__ and name not in {"args", "kwargs", "priority"}
)
