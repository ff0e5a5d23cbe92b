"""The calendar of schedules: what ran, what was missed and what comes, in cells. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain.spoken import counted, local

CELLS = 72
"""So many cells a row has; the last third of them is to come."""
AHEAD = 24
TICK = timedelta(microseconds=1)


class CellState(StrEnum):
    """What was, or will be, in a stretch of time; the worst of it."""

    EMPTY = "empty"
    RAN = "success"
    LIVE = "started"
    FAILED = "failed"
    MISSED = "missed"
    PLANNED = "planned"
    HELD = "held"
    """Planned, but the schedule is paused."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What the file says about one stretch of time of a schedule."""

    runs: int
    failed: int
    live: int
    task_id: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One stretch of time of one schedule."""

    number: int
    at: datetime
    state: CellState
    text: str
    """What was in it, in words; empty if nothing was."""
    task_id: str | None = None
    """The newest of its tasks."""

    @property
    def title(self) -> str:
        """When, and what was in it."""
        return f"{local(self.at, timespec='minutes')}: {self.text}"


@dataclass(frozen=True, slots=True)
class Axis:
    """The stretches of time of a calendar."""

    begin: datetime
    """Aware, in UTC."""
    width: timedelta
    count: int = CELLS

    @property
    def end(self) -> datetime:
        """The end of the last one."""
        return self.begin + self.count * self.width

    def at(self, number: int) -> datetime:
        """Return when one begins."""
        return self.begin + number * self.width

    def number(self, moment: datetime) -> int:
        """Return the number of the one that a moment is in; it may be outside."""
        return (moment - self.begin) // self.width


def axis_of(now: datetime, span: timedelta) -> Axis:
    """Return stretches of time around now, which all begin at a multiple of their width."""
    width = span / CELLS
    epoch = datetime(1970, 1, 1, tzinfo=now.tzinfo)
    last_begun = epoch + (now - epoch) // width * width
    return Axis(last_begun - (CELLS - AHEAD - 1) * width, width)


def cells_of(
    info: ScheduleInfo, axis: Axis, found: Mapping[int, Runs], now: datetime
) -> tuple[Cell, ...]:
    """Return the cells of a schedule.

    Args:
        info: the schedule.
        axis: which stretches of time.
        found: what ran, by the number of the stretch.
        now: what is planned is after it.
    """
    missed: dict[int, int] = {}
    for moment in (one for one in info.missed_times if one <= now):
        number = axis.number(moment)
        missed[number] = missed.get(number, 0) + 1
    planned = _planned(info, axis, now)
    return tuple(
        _cell(info, axis, number, found.get(number), missed.get(number, 0), number in planned)
        for number in range(axis.count)
    )


def _planned(info: ScheduleInfo, axis: Axis, now: datetime) -> Collection[int]:
    """Return in which stretches it will fire: one look per stretch, however often that is."""
    found: set[int] = set()
    moment = max(now, axis.begin - TICK)
    if info.start_at is not None:
        moment = max(moment, info.start_at - TICK)
    end = axis.end if info.end_at is None else min(axis.end, info.end_at + TICK)
    while True:
        after = info.trigger.next_after(moment)
        if after is None or after >= end:
            return found
        number = axis.number(after)
        found.add(number)
        moment = max(after, axis.at(number + 1) - TICK)


def _cell(
    info: ScheduleInfo,
    axis: Axis,
    number: int,
    runs: Runs | None,
    missed: int,
    planned: bool,  # noqa: FBT001 - of one place
) -> Cell:
    said = []
    state = CellState.EMPTY
    if planned:
        state = CellState.HELD if info.paused else CellState.PLANNED
        said.append("planned, but paused" if info.paused else "planned")
    if runs is not None:
        state = CellState.LIVE if runs.live else CellState.RAN
        said.append(counted(runs.runs, "run"))
        if runs.live:
            said.append(f"{runs.live:,} not ended")
        if runs.failed:
            state = CellState.FAILED
            said.append(f"{runs.failed:,} failed")
    if missed:
        said.append(f"{missed:,} missed")
        if state is not CellState.FAILED:
            state = CellState.MISSED
    return Cell(
        number, axis.at(number), state, ", ".join(said), None if runs is None else runs.task_id
    )
