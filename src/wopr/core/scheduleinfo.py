"""The snapshot of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.status import TaskPriority
from wopr.domain.triggers import Trigger


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
    max_running: int | None
    """Most runs at once; ``None`` is one, or any number where they may overlap."""
    missed: int
    """How many planned times were left out because they were late."""
    missed_times: tuple[datetime, ...]
    """The newest 100 of them, in order."""
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
