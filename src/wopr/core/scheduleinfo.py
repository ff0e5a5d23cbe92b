"""What a schedule can be told, and the snapshot of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, TypedDict

from wopr.domain.crontab import Crontab
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.scheduleoptions import Every
from wopr.domain.status import TaskPriority
from wopr.domain.triggers import Trigger


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
