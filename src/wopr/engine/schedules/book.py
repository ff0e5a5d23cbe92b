"""The schedules of one engine in memory: who is due next, and what became of their tasks."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import datetime

from wopr.domain.schedule import Schedule, catch_up
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.ports.storage import ScheduleProgress

LEAST_STALE = 64


class ScheduleBook:
    """Rows by name, ordered by when they are due. Used on the event loop only.

    Looking at the clock costs a look at the top of a heap, however many there are.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Schedule] = {}
        self.succeeded: dict[str, str] = {}
        """The task of each schedule that succeeded last."""
        self.starting: dict[str, datetime] = {}
        """Schedules that run on start and have not yet, with the moment of the start."""
        self._waiting: set[str] = set()  # due, for others that never succeeded
        self._children: dict[str, set[str]] = {}
        self._live: dict[str, dict[str, None]] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._gone: set[str] | None = None  # ended while it is not known yet that they began
        self._ready: set[str] = set()  # children of those, which may go on then

    # -- rows ---------------------------------------------------------------

    def load(
        self, rows: Iterable[Schedule], progress: Mapping[str, ScheduleProgress]
    ) -> list[Schedule]:
        """Take over what the storage has; return rows that lagged behind their tasks."""
        self.rows = {row.name: row for row in rows}
        self._waiting.clear()
        self._children.clear()
        self._live.clear()
        self.succeeded.clear()
        self._heap.clear()
        behind = []
        for name, row in self.rows.items():
            found = progress.get(name, ScheduleProgress())
            self.added(name, found.live)
            if found.succeeded is not None:
                self.succeeded[name] = found.succeeded
            if catch_up(row, found.newest, found.newest_id):
                behind.append(row)
            self.put(row)
        for name in self.starting.keys() - self.rows.keys():
            del self.starting[name]
        return behind

    def put(self, row: Schedule) -> None:
        """Take a new or changed row that is on disk."""
        known = self.rows.get(row.name)
        for parent in known.depends_on if known is not None else ():
            self._children.get(parent, set()).discard(row.name)
        for parent in row.depends_on:
            self._children.setdefault(parent, set()).add(row.name)
        self.rows[row.name] = row
        self._waiting.discard(row.name)
        if row.paused_at is not None:
            self.starting.pop(row.name, None)
        self.plan(row)

    def remove(self, name: str) -> None:
        """Forget a row."""
        for parent in self.rows.pop(name).depends_on:
            self._children.get(parent, set()).discard(name)
        self._waiting.discard(name)
        self.starting.pop(name, None)
        self.succeeded.pop(name, None)

    def dependents(self, name: str) -> list[str]:
        """Return the schedules that wait for successes of this one."""
        return sorted(self._children.get(name, ()))

    # -- due ----------------------------------------------------------------

    def plan(self, row: Schedule) -> None:
        """Note when the row is due."""
        if row.next_fire_at is None or row.paused_at is not None or row.name in self._waiting:
            return
        heapq.heappush(self._heap, (row.next_fire_at, row.name))
        if len(self._heap) > 2 * len(self.rows) + LEAST_STALE:  # most are of earlier plans
            self._heap = [item for item in self._heap if self._is_planned(*item)]
            heapq.heapify(self._heap)

    def _is_planned(self, moment: datetime, name: str) -> bool:
        row = self.rows.get(name)
        return (
            row is not None
            and row.next_fire_at == moment
            and row.paused_at is None
            and name not in self._waiting
        )

    def next_due(self) -> datetime | None:
        """Return when a schedule is due next; ``None`` if none is."""
        if starting := self._starting():
            return self.starting[starting[0]]
        while self._heap and not self._is_planned(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: datetime, most: int) -> list[str]:
        """Take schedules that are due out of the order; they come back with :meth:`plan`."""
        found = dict.fromkeys(self._starting()[:most])
        while self._heap and self._heap[0][0] <= now and len(found) < most:
            moment, name = heapq.heappop(self._heap)
            if self._is_planned(moment, name):
                found[name] = None
        return list(found)

    def _starting(self) -> list[str]:
        return [name for name in self.starting if name not in self._waiting]

    # -- dependencies ---------------------------------------------------------

    def lacking(self, row: Schedule) -> list[str]:
        """Return the schedules whose first success it waits for."""
        return [parent for parent in row.depends_on if parent not in self.succeeded]

    def wait(self, name: str) -> None:
        """Leave a due schedule until one that it depends on succeeds."""
        self._waiting.add(name)

    # -- tasks --------------------------------------------------------------

    def live(self, name: str) -> list[str]:
        """Return the tasks of a schedule that have not ended, the oldest first."""
        return list(self._live.get(name, ()))

    def watch(self) -> None:
        """Remember from now on which tasks end, until :meth:`watched`."""
        self._gone = set()

    def watched(self) -> None:
        """Forget what ended: all tasks that began meanwhile are known by now.

        What waited for their success is due from now on, not in the middle of a tick.
        """
        self._gone = None
        for name in self._ready:
            self._go_on(name)
        self._ready.clear()

    def _go_on(self, name: str) -> None:
        if name in self._waiting:
            self._waiting.discard(name)
            self.plan(self.rows[name])

    def added(self, name: str, task_ids: Iterable[str]) -> None:
        """Note tasks of a schedule, unless they have ended by now."""
        alive = [one for one in task_ids if self._gone is None or one not in self._gone]
        if alive:
            self._live.setdefault(name, {}).update(dict.fromkeys(alive))

    def changed(self, record: TaskRecord) -> bool:
        """Note that a task of a schedule ended, or was put back in its queue by hand.

        Return whether other schedules are due because of it.
        """
        name = record.schedule
        assert name is not None, "only tasks of schedules are told here"
        if record.status not in TERMINAL:
            self._live.setdefault(name, {})[record.id] = None
            return False
        live = self._live.get(name)
        if live is not None:
            live.pop(record.id, None)
            if not live:
                del self._live[name]
        if self._gone is not None:
            self._gone.add(record.id)
        if record.status is not TaskStatus.SUCCESS:
            return False
        self.succeeded[name] = record.id
        ready = [child for child in self._children.get(name, ()) if child in self._waiting]
        if self._gone is not None:
            self._ready.update(ready)
        else:
            for child in ready:
                self._go_on(child)
        return bool(ready)
