"""Watch a queue for its alerts: events as they come, the rest by looking now and then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any

from wopr.domain.alertrule import ON_BACKLOG, ON_EVENTS, AlertCondition, AlertRule
from wopr.domain.clock import Clock, naive_now
from wopr.domain.errors import InvalidCallError, QueryError, StorageError, WoprError
from wopr.domain.events import TaskEvent, TaskFailed, TaskRetrying, TaskSucceeded
from wopr.domain.masking import mask
from wopr.insights import queries
from wopr.notifications.alertbook import AlertBook
from wopr.notifications.alerts import Alarm, of_backlogs, of_schedules
from wopr.notifications.event import CATEGORY
from wopr.notifications.occurrence import Backlog, Occurrence
from wopr.queue.queue import TaskQueue

log = logging.getLogger(__name__)

Emit = Callable[..., Awaitable[Any]]

LOOK_SECONDS = 5.0
"""Between two looks at running tasks, backlogs, schedules and the alerts themselves."""
MOST_EARLY = 1_000
"""So many final failures are kept for when it is started."""
FAILURES: tuple[type[TaskEvent], ...] = (TaskRetrying, TaskFailed)
ENDS: tuple[type[TaskEvent], ...] = (TaskSucceeded, *FAILURES)
"""The events that alerts are about."""


def needed_events(conditions: set[AlertCondition]) -> tuple[type[TaskEvent], ...]:
    """Return what has to be heard; successes, which are many, only where they matter."""
    if conditions & {AlertCondition.SLOW, AlertCondition.RECOVERY}:
        return ENDS
    return FAILURES if conditions & ON_EVENTS else ()


class Watch:
    """Watches one queue, in the process that owns its file."""

    def __init__(self, queue: TaskQueue, book: AlertBook, emit: Emit, clock: Clock) -> None:
        self._queue = queue
        self._book = book
        self._emit = emit
        self._clock = clock
        self._alarm = Alarm()
        self._rules: list[AlertRule] = []
        self._pending: deque[Occurrence] = deque()
        self._unsubscribe: dict[str, Callable[[], None]] = {}
        self._early: deque[TaskEvent] = deque(maxlen=MOST_EARLY)
        self._hear_early()
        self._new_loop()
        self._task: asyncio.Task[None] | None = None

    def _new_loop(self) -> None:
        """Take what belongs to one event loop anew."""
        self._looking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Start watching; does nothing if it is started."""
        if self._task is not None:
            return
        self._new_loop()
        self._task = asyncio.create_task(self._run(), name="wopr-alerts")
        with contextlib.suppress(StorageError):  # the first look says so, and tries again
            await self.reload()

    async def stop(self) -> None:
        """Stop watching; emit what was seen. Idempotent."""
        self._subscribe(())
        task, self._task = self._task, None
        if task is None:
            return
        self._hear_early()
        self._stopping.set()
        self._wake.set()
        await task
        self._pending += self._alarm.due(self._rules, self._clock.now(), last=True)
        await self._tell()
        if self._pending:
            log.warning(
                "%d alerts are not emitted, because the queue was shut down before the service "
                "was stopped. Stop the service first: `async with queue, service:`.",
                len(self._pending),
            )
            self._pending.clear()

    async def reload(self) -> None:
        """Read the alerts again, if it is started; nothing is heard while none needs it.

        Raises:
            StorageError: the alerts can't be read.
        """
        if self._task is None:
            return
        rules = await self._book.all()
        if self._task is None:  # stopped meanwhile
            return
        self._rules = rules
        self._subscribe(needed_events({rule.when for rule in rules}))
        self._stop_early()
        while self._early:
            self._heard(self._early.popleft())

    async def look(self) -> None:
        """Look at the alerts themselves, at running tasks, backlogs and schedules.

        Raises:
            StorageError: something can't be read.
        """
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        await self.reload()
        now, rules = self._clock.now(), self._rules
        kinds = {rule.when for rule in rules}
        found: list[Occurrence] = []
        changed: list[AlertRule] = []
        if AlertCondition.SLOW in kinds:
            tasks = list(self._queue.running_tasks.values())
            found += self._alarm.running(rules, tasks, now)
        if kinds & ON_BACKLOG:
            found += of_backlogs(rules, await self._backlogs(), now)
        if AlertCondition.SCHEDULE_MISSED in kinds:
            missed, changed = of_schedules(rules, await self._queue.schedules.list())
            found += missed
        for occurrence in found:
            self._take(occurrence)
        self._pending += self._alarm.due(rules, now)
        await self._tell()
        if changed:  # after telling: what a crash comes between is told twice, not never
            await self._book.keep(changed)
            await self.reload()

    async def _backlogs(self) -> list[Backlog]:
        now = naive_now(self._clock)
        try:
            rows = await self._queue.sql(queries.DUE_BY_CATEGORY, now)
        except QueryError as error:
            log.warning("No alert about backlogs: this storage answers no SQL. %s", error)
            return []
        return [
            Backlog(row["category"], row["tasks"], row["oldest"].replace(tzinfo=UTC))
            for row in rows
        ]

    # -- inside ----------------------------------------------------------------

    def _hear_early(self) -> None:
        """Keep final failures until it is started: recovery fails tasks before that."""
        self._stop_early = self._queue.on(TaskFailed.kind, self._early.append)

    def _subscribe(self, needed: tuple[type[TaskEvent], ...]) -> None:
        kinds = {event.kind for event in needed}
        for kind in self._unsubscribe.keys() - kinds:
            self._unsubscribe.pop(kind)()
        for kind in kinds - self._unsubscribe.keys():
            self._unsubscribe[kind] = self._queue.on(kind, self._heard)

    def _heard(self, event: TaskEvent) -> None:
        for occurrence in self._alarm.ended(self._rules, event):
            self._take(occurrence)

    def _take(self, occurrence: Occurrence) -> None:
        told = self._alarm.take(occurrence, self._clock.now())
        if told is not None:
            self._pending.append(told)
            self._wake.set()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._open:
                    await self.look()
                await self._until_look()
            except Exception as error:
                known = isinstance(error, WoprError | OSError)
                log.warning(
                    "The alerts could not be looked at, and will be in %g s: %s",
                    LOOK_SECONDS,
                    error,
                    exc_info=not known,
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), LOOK_SECONDS)

    async def _until_look(self) -> None:
        """Tell what is heard, until it is time for the next look."""
        end = asyncio.get_running_loop().time() + LOOK_SECONDS
        with contextlib.suppress(TimeoutError):
            while not self._stopping.is_set():
                async with asyncio.timeout_at(end):
                    await self._wake.wait()
                self._wake.clear()
                await self._tell()

    @property
    def _open(self) -> bool:
        """Whether the queue is open: a queue that is shut down must not be opened by a look."""
        return CATEGORY in self._queue.workers

    async def _tell(self) -> None:
        while self._pending and self._open:
            one = self._pending.popleft()
            title, message = mask(one.title), mask(one.message)
            try:
                await self._emit(one.rule.emits, one.rule.level, title, message, dict(one.metadata))
            except InvalidCallError:
                log.exception("Alert %r can't be emitted.", one.rule.name)
            except BaseException:
                self._pending.appendleft(one)
                raise
