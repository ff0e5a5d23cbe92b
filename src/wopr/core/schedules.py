"""Schedules for people: ``queue.schedules``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Unpack

from wopr.calls.options import ScheduleOptions
from wopr.calls.schedules import ScheduleMaker, check_name
from wopr.core.core import Core
from wopr.core.handle import TaskHandle
from wopr.core.scheduleinfo import ScheduleInfo
from wopr.core.task import Task
from wopr.domain.checks import check_count, check_label
from wopr.domain.codec import decode_plain
from wopr.domain.errors import InvalidCallError
from wopr.domain.leftout import names_options
from wopr.domain.schedule import Schedule, preview
from wopr.domain.snapshot import decode_options
from wopr.domain.standing import Standing, unknown
from wopr.domain.status import TaskPriority
from wopr.ports.backend import ScheduleBackend

MOST_PREVIEWED = 10_000
PAUSED_BY_HAND = "paused by hand"


Infos = list[ScheduleInfo]
Moments = list[datetime]
Ids = list[str]


class Schedules:
    """The schedules of one queue, in this process or through the one that owns the file."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._maker = ScheduleMaker(core.registry, core.clock, core.auth)

    @names_options(ScheduleOptions)
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
        new = self._maker.new(check_name(name), _name_of(task), options, origin="call")
        backend = await self._writing()
        return self._info(*await backend.add(new))

    @names_options(ScheduleOptions)
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
            at_once: whether a new one fires now for the first time: an interval, or a time of
                day in the minute that the clock on the wall shows.
            **options: see :class:`ScheduleOptions`.

        Raises:
            DuplicateScheduleError: another one is declared under this name.
            InvalidCallError: a value or an argument is wrong.
        """
        new = self._maker.new(name, _name_of(task), options, origin="code")
        known = self._core.registry.definitions.get(new.task)
        self._core.access.clockwork.declare(
            new,
            None if known is None else known.origin,
            at_once=self._core.clock.now() if at_once else None,
        )

    def withdraw(self, name: str) -> None:
        """Declare a schedule no more; its row stays as it is. Unknown names are ignored."""
        self._core.access.clockwork.withdraw(name)

    async def sync(self) -> None:
        """Bring the rows up to what is declared, as the start of the scheduler does.

        Raises:
            InvalidCallError: a declared schedule depends on one that there is not.
            QueueDisabledError: the queue is switched off.
        """
        await self._writing()
        await self._core.access.clockwork.sync()

    async def ended(self) -> None:
        """Return when the scheduler of this queue is stopped; at once if none runs."""
        await self._core.access.clockwork.ended()

    async def get(self, name: str) -> ScheduleInfo:
        """Return a schedule.

        Raises:
            ScheduleNotFoundError: there is none of this name.
        """
        return self._info(*await (await self._reading(name)).get(check_name(name)))

    async def list(self) -> Infos:
        """Return all schedules, by name; empty if the queue is switched off."""
        backend = await self._core.reader()
        return [] if backend is None else [self._info(*v) for v in await backend.schedules.all()]

    @names_options(ScheduleOptions)
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
        return TaskHandle(self._core, task_id)

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
        return preview(row, count, self._core.time.now())

    async def tick(self) -> Ids:
        """Look at the clock now and fire what is due; return the ids of the tasks.

        The scheduler does it by itself: this is for programs that run none.

        Raises:
            StorageError: what is due is fired by one of the next looks.
        """
        backend = await self._core.reader()
        return [] if backend is None else await backend.schedules.tick()

    # -- inside -------------------------------------------------------------

    async def _writing(self) -> ScheduleBackend:
        return (await self._core.writer()).schedules

    async def _reading(self, name: str) -> ScheduleBackend:
        """Return the backend; a queue that is off, or has no file, has no schedule."""
        backend = await self._core.reader()
        if backend is None:
            raise unknown(check_name(name), ())
        return backend.schedules

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
        definition = self._core.registry.definitions.get(row.task)
        if definition is not None and not results:
            try:
                return definition.codec.decode_call(row.args, row.kwargs)
            except InvalidCallError:
                pass
        args: Any = decode_plain(row.args)
        kwargs: Any = decode_plain(row.kwargs)
        return tuple(args), {key: kwargs[key] for key in kwargs if key not in results}


def _name_of(task: str | Task[..., Any]) -> str:
    return task.name if isinstance(task, Task) else check_label(task, "task")


_AS_STORED = tuple(
    name
    for name in ScheduleInfo.__dataclass_fields__
    if name in Schedule.__dataclass_fields__ and name not in {"args", "kwargs", "priority"}
)
