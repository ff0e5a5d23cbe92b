"""The life of a task as bars on one axis of time, to scale. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from wopr.domain.status import TERMINAL, TaskStatus
from wopr.ports.answers import HistoryEntry

MOST = 60
"""So many bars are drawn; of more, those in the middle are left out."""
LEAST = 0.4
"""So wide, in percent, a bar is at least: what was short is seen, too."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time in which a task did one thing, or waited for one."""

    label: str
    kind: str
    """The class that has its colour and its shape."""
    begin: datetime
    end: datetime
    left: float
    width: float
    """Both in percent of the whole."""
    text: str
    """What ended it."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True)
class Timeline:
    """All bars of a task, from when it was enqueued to its end, or until now."""

    begin: datetime
    end: datetime
    bars: tuple[Bar, ...]
    left_out: int = 0

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return (self.end - self.begin).total_seconds()


def timeline(history: Sequence[HistoryEntry], now: datetime) -> Timeline | None:
    """Return the bars of a history; ``None`` without one."""
    if not history:
        return None
    ended = history[-1].to_status in TERMINAL
    begin, end = history[0].occurred_at, history[-1].occurred_at if ended else now
    end = max(begin, end)
    whole = max((end - begin).total_seconds(), 1e-6)
    bars = []
    for stretch, until, following in _stretches(history, end):
        since = stretch.occurred_at
        width = max(LEAST, (until - since).total_seconds() / whole * 100)
        left = min((since - begin).total_seconds() / whole * 100, 100 - LEAST)
        label, kind = _named(stretch, following)
        text = "" if following is None else following.error or following.reason
        width = round(min(width, 100 - left), 3)
        bars.append(Bar(label, kind, since, until, round(left, 3), width, text))
    over = max(0, len(bars) - MOST)
    if over:
        bars = bars[: MOST // 2] + bars[MOST // 2 + over :]
    return Timeline(begin, end, tuple(bars), over)


def _stretches(
    history: Sequence[HistoryEntry], end: datetime
) -> Iterator[tuple[HistoryEntry, datetime, HistoryEntry | None]]:
    """Give what began a stretch, its end, and what ended it; what only changes a task ends none."""
    moves = [
        one
        for at, one in enumerate(history)
        if at == 0 or one.from_status is not one.to_status or one.to_status is TaskStatus.STARTED
    ]
    for at, one in enumerate(moves):
        following = moves[at + 1] if at + 1 < len(moves) else None
        until = end if following is None else max(one.occurred_at, following.occurred_at)
        if following is not None or one.to_status not in TERMINAL:
            yield one, until, following


def _named(one: HistoryEntry, following: HistoryEntry | None) -> tuple[str, str]:
    if one.to_status is TaskStatus.STARTED:
        label = f"attempt {one.attempt}"
        if following is None:
            return label, "started"
        if following.to_status is TaskStatus.SUCCESS:
            return label, "success"
        if following.to_status is TaskStatus.CANCELLED:
            return label, "cancelled"
        return label, "failed" if following.error else "retry"
    if one.to_status is TaskStatus.RETRY:
        return "back-off", "retry"
    if one.to_status is TaskStatus.PENDING:
        return ("waiting" if one.from_status is None else "waiting again"), "pending"
    return one.to_status.value, "dimmed"
