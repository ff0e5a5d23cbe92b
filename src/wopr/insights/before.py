"""What was before the last hour: kept for minutes, for it hardly changes and takes long to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

KEPT = timedelta(minutes=10)
"""So old an answer may be; it is also of the same hour of the day."""

Rows = list[tuple[Any, ...]]


class Before:
    """The newest answer of each question about the days before."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[datetime, Rows]] = {}

    async def rows(
        self, question: str, now: datetime, ask: Callable[[], Awaitable[Rows | None]]
    ) -> Rows | None:
        """Return the answer to a question: that of some minutes ago, or a new one.

        Args:
            question: its text.
            now: naive, in UTC.
            ask: asks it; ``None`` is no answer, and not kept.
        """
        kept = self._kept.get(question)
        if kept is not None:
            asked, rows = kept
            if timedelta(0) <= now - asked < KEPT and asked.hour == now.hour:
                return rows
        found = await ask()
        if found is not None:
            self._kept[question] = now, found
        return found
