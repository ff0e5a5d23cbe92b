"""What is answered about a queue as it was at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wopr.domain.controls import Pause
from wopr.domain.spoken import counted, local


@dataclass(frozen=True, slots=True)
class CategoryBacklog:
    """What waited and ran in one category."""

    category: str
    waiting: int
    due: int
    running: int
    oldest_seconds: float | None = None
    """How long the oldest that was due had been so; ``None`` if none was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastStatus:
    """How a queue stood at a moment. Times are aware, in UTC."""

    moment: datetime
    waiting: int
    due: int
    running: int
    workers: int
    """Those that ran something then, or had done so within the hour before."""
    backlog: tuple[CategoryBacklog, ...]
    pauses: tuple[Pause, ...]
    gone_until: datetime | None = None
    """Tasks that ended until then may have been deleted since, and are not counted."""

    @property
    def text(self) -> str:
        """All of it in a line."""
        paused = ", ".join(one.name for one in self.pauses)
        return (
            f"At {local(self.moment)}: {counted(self.waiting, 'task')} waited, {self.due:,} of "
            f"them due, {self.running:,} ran on {counted(self.workers, 'worker')}"
            + (f"; paused: {paused}." if paused else ".")
        )

    def __str__(self) -> str:
        return self.text
