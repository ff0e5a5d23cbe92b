"""Functions that go on although nobody awaits them any more: they can't be stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from wopr.domain.clock import Clock, SystemClock
from wopr.executors.context import CurrentTask

log = logging.getLogger("wopr.worker")


@dataclass(frozen=True, slots=True, eq=False)
class Abandoned:
    """One function that was let go of and still runs."""

    task_id: str
    name: str
    """Of the task."""
    attempt: int
    where: str
    """The thread or the executor that it occupies."""
    since: datetime
    """Aware, in UTC."""


class AbandonedList:
    """Those that still run. Safe to use from any thread."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._running: dict[Abandoned, float] = {}

    @property
    def running(self) -> list[Abandoned]:
        """A copy, the oldest first."""
        return list(self._running)

    def add(self, task: CurrentTask, where: str) -> Abandoned:
        """Take one, and say so in the log."""
        one = Abandoned(task.id, task.name, task.attempt, where, self._clock.now())
        self._running[one] = self._clock.monotonic()
        log.warning(
            "Attempt %d of task %s (%s) was stopped, but its function can't be: it goes on in %s "
            "until it returns, and its outcome is dropped. Let it look at "
            'current_task().cancelled now and then, or run it with executor="process".',
            one.attempt,
            one.task_id,
            one.name,
            where,
        )
        return one

    def ended(self, one: Abandoned) -> None:
        """Note that it has returned at last, and say so in the log."""
        seconds = self._clock.monotonic() - self._running.pop(one)
        log.info(
            "The function of task %s (%s), attempt %d, has ended in %s, %.1f s after it was "
            "given up.",
            one.task_id,
            one.name,
            one.attempt,
            one.where,
            seconds,
        )
