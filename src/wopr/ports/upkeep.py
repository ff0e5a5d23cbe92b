"""One more role of a storage: opening, closing, and what is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from wopr.domain.facts import Disk
from wopr.domain.logline import LogLine


class Upkeep(Protocol):
    """Beginning and end, and what fills the disk besides tasks."""

    async def open(self) -> None:
        """Make the storage ready, exclusively if it can have one owner only."""
        ...

    async def close(self) -> None:
        """Finish all writes and let go. Idempotent."""
        ...

    def disk(self) -> Disk | None:
        """Return how much room there is; ``None`` where that can't be told."""
        ...

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment; return how many."""
        ...

    async def forget(self, now: datetime) -> tuple[int, datetime | None]:
        """Delete some tasks whose own time is over; return how many, and when the next goes."""
        ...

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines that tasks logged, soon; they are no transitions."""
        ...
