"""The waiting tasks of one category: what runs next, with bounded memory.

Per priority a lane in enqueue order, and one heap of tasks that are not due yet.
Each keeps at most a window in memory. What does not fit stays in the storage; a
bound (``beyond``) says from where on the storage may hold tasks that memory does
not, and they are paged in before memory runs dry.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

from wopr.domain.status import CLAIMABLE, TaskPriority
from wopr.domain.task import TaskRecord
from wopr.ports.storage import LaneCount

WINDOW = 10_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the records hold times
_TICK = timedelta.resolution


def score(record: TaskRecord, aging: float) -> float:
    """Return what orders tasks of all priorities by age; the least starts first.

    It does not change with time: one level of priority is worth ``aging`` seconds of waiting.
    """
    due = record.run_at or record.created_at
    return (due - _EPOCH).total_seconds() - record.priority * aging


class Lane:
    """Due tasks of one priority, first in, first out."""

    __slots__ = ("beyond", "heap", "missed", "newest", "paging")

    def __init__(self) -> None:
        self.heap: list[tuple[int, TaskRecord]] = []
        self.newest = 0
        self.beyond: int | None = None  # tasks with a greater seq may be in the storage only
        self.paging = False
        self.missed: int | None = None  # least seq sent to the storage while a page was being read

    def leave(self, seq: int) -> None:
        """Note that a due task with this seq, or a greater one, is in the storage only."""
        self.beyond = seq - 1 if self.beyond is None else min(self.beyond, seq - 1)
        self.missed = seq if self.missed is None else min(self.missed, seq)


class Lanes:
    """All waiting tasks of a category that this process knows of."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._lanes = {int(priority): Lane() for priority in sorted(TaskPriority, reverse=True)}
        self._heaps = [lane.heap for lane in self._lanes.values()]
        self._later: list[tuple[datetime, int, TaskRecord]] = []
        self.later_beyond: datetime | None = None
        self.later_paging = False
        self.later_missed: datetime | None = None  # as in a lane
        self.latest = datetime.min  # noqa: DTZ901 - naive UTC, as the records hold times
        """The latest time ever seen here. The system clock may step back; what was due by then
        and is in the storage is still a lane's to page in."""
        self.aging: float | None = None
        """A waiting task gains one level of priority per so many seconds; ``None``: never."""
        self.unregistered: set[str] = set()
        self._passed = False  # delayed tasks of the storage became due: when is the next one?
        self._fresh = False  # a page was read, and nothing of it could start yet

    def qsize(self) -> int:
        """Return how many tasks wait in memory."""
        return sum(len(lane.heap) for lane in self._lanes.values()) + len(self._later)

    def empty(self) -> bool:
        """Whether no task waits in memory."""
        return self.qsize() == 0

    def reset(self, now: datetime) -> None:
        """Read everything from the storage again."""
        for lane in self._lanes.values():
            lane.beyond = 0
            lane.missed = 1  # a page that is being read may leave out what this is for
        self.later_beyond = self.later_missed = now

    def expect(self, count: LaneCount, now: datetime) -> None:
        """Note at opening what one lane has in the storage."""
        self.latest = max(self.latest, now)
        if count.due:
            self._lanes[count.priority].beyond = 0
        if count.later:
            self.later_beyond = now

    # -- in -----------------------------------------------------------------

    def push(self, record: TaskRecord, now: datetime) -> bool:
        """Take a waiting task; return whether it is kept in memory."""
        self.latest = max(self.latest, now)
        if record.run_at is not None and record.run_at > now:
            return self._push_later(record, record.run_at)
        lane = self._lanes[record.priority]
        if lane.beyond is not None and record.seq > lane.beyond:
            lane.missed = record.seq if lane.missed is None else min(lane.missed, record.seq)
            return False
        if len(lane.heap) >= self._window and record.seq > lane.newest:
            lane.leave(record.seq)  # a page that is being read may begin after it
            return False
        lane.newest = max(lane.newest, record.seq)
        heapq.heappush(lane.heap, (record.seq, record))
        return True

    def _push_later(self, record: TaskRecord, run_at: datetime) -> bool:
        if self.later_beyond is not None and run_at >= self.later_beyond:
            missed = self.later_missed
            self.later_missed = run_at if missed is None else min(missed, run_at)
            return False
        if len(self._later) >= self._window:
            self._leave_later(run_at)
            return False
        heapq.heappush(self._later, (run_at, record.seq, record))
        return True

    def holds(self, record: TaskRecord) -> bool:
        """Whether this very record waits in memory; looks at all of them."""
        waiting: list[TaskRecord] = [item[-1] for item in self._later]
        for lane in self._lanes.values():
            waiting += [item[-1] for item in lane.heap]
        return any(other is record for other in waiting)

    # -- out ----------------------------------------------------------------

    def promote(self, now: datetime) -> None:
        """Move tasks that have become due into their lane.

        What became due in the storage only is from now on the lanes' to page in: they do
        it in the order of enqueueing, a window at a time. Not before a page that was just
        read had its turn: while there is always something becoming due, nothing would start.
        """
        self.latest = max(self.latest, now)
        later = self._later
        while later and later[0][0] <= now:
            _, seq, record = heapq.heappop(later)
            if record.status in CLAIMABLE:
                heapq.heappush(self._lanes[record.priority].heap, (seq, record))
        fresh, self._fresh = self._fresh, False
        if fresh or self.later_beyond is None or self.later_beyond > now or self._paging():
            return
        for lane in self._lanes.values():
            lane.leave(1)
        self.later_beyond = now + _TICK
        self._passed = True

    def _paging(self) -> bool:
        return self.later_paging or any(lane.paging for lane in self._lanes.values())

    def trim(self) -> list[TaskRecord]:
        """Leave to the storage again what is more than memory may hold; return it."""
        left: list[TaskRecord] = []
        for lane in self._lanes.values():
            if len(lane.heap) > 3 * self._window:
                lane.heap.sort()
                lane.leave(lane.heap[2 * self._window][0])
                left += [record for _, record in lane.heap[2 * self._window :]]
                del lane.heap[2 * self._window :]
        if len(self._later) > 3 * self._window:
            self._later.sort()
            self._leave_later(self._later[2 * self._window][0])
            left += [record for _, _, record in self._later[2 * self._window :]]
            del self._later[2 * self._window :]
        return [record for record in left if record.status in CLAIMABLE]

    def _leave_later(self, run_at: datetime) -> None:
        """Note that a task due then, or later, is in the storage only."""
        beyond, missed = self.later_beyond, self.later_missed
        self.later_beyond = run_at if beyond is None else min(beyond, run_at)
        self.later_missed = run_at if missed is None else min(missed, run_at)

    def pop(self) -> TaskRecord | None:
        """Take the next due task; ``None`` when there is none or one must be paged in first.

        A lower priority does not start while a higher one has tasks that are still
        in the storage only.
        """
        if self.aging is not None:
            return self._pop_aged(self.aging)
        for lane in self._lanes.values():
            while lane.heap:
                if lane.beyond is not None and lane.heap[0][0] > lane.beyond:
                    return None
                record = heapq.heappop(lane.heap)[1]
                if record.status in CLAIMABLE:
                    return record
            if lane.beyond is not None:
                return None
        return None

    def _pop_aged(self, aging: float) -> TaskRecord | None:
        best: tuple[float, int, Lane] | None = None
        for lane in self._lanes.values():
            while lane.heap and lane.heap[0][1].status not in CLAIMABLE:
                heapq.heappop(lane.heap)
            if lane.beyond is not None and (not lane.heap or lane.heap[0][0] > lane.beyond):
                return None
            if lane.heap:
                seq, record = lane.heap[0]
                found = score(record, aging), seq, lane
                best = found if best is None else min(best, found, key=lambda item: item[:2])
        return None if best is None else heapq.heappop(best[2].heap)[1]

    def pages_above(self, priority: int) -> bool:
        """Whether the storage may hold due tasks of a higher priority that memory does not."""
        return any(
            number > priority and lane.beyond is not None for number, lane in self._lanes.items()
        )

    def has_due(self) -> bool:
        """Whether a due task waits in memory."""
        return any(self._heaps)

    def idle(self, now: datetime) -> bool:
        """Whether no due task waits anywhere, so that a new one may start before any other."""
        for lane in self._lanes.values():
            if lane.heap or lane.beyond is not None:
                return False
        due = self.next_due()
        return due is None or due > now

    def next_due(self) -> datetime | None:
        """Return when the next task becomes due, as far as known."""
        while self._later and self._later[0][2].status not in CLAIMABLE:
            heapq.heappop(self._later)
        known = self._later[0][0] if self._later else None
        if self.later_beyond is None or self._paging():  # the end of a page wakes the pool up
            return known
        return self.later_beyond if known is None else min(known, self.later_beyond)

    # -- paging -------------------------------------------------------------

    def lanes_to_page(self) -> list[tuple[int, int]]:
        """Return (priority, after seq) of the lanes that run low and have more in the storage."""
        return [
            (priority, lane.beyond)
            for priority, lane in self._lanes.items()
            if lane.beyond is not None
            and not lane.paging
            and (len(lane.heap) <= self._window // 4 or lane.heap[0][0] > lane.beyond)
        ]

    def wants_later(self, now: datetime) -> bool:
        """Whether delayed tasks should be paged in."""
        return (
            self.later_beyond is not None
            and not self.later_paging
            and (self._passed or self.later_beyond <= now or len(self._later) <= self._window // 4)
        )

    def page_started(self, priority: int) -> None:
        """Note that a page of a lane is being read."""
        lane = self._lanes[priority]
        lane.paging, lane.missed = True, None

    def page_ended(self, priority: int, last_seq: int | None, *, full: bool) -> None:
        """Note what a page brought: ``last_seq`` of it, and whether there may be more."""
        lane = self._lanes[priority]
        lane.paging, self._fresh = False, True
        if last_seq is not None and lane.beyond is not None:
            lane.beyond = max(lane.beyond, last_seq)
        if lane.missed is not None:  # the page may have been read before its commit
            lane.beyond = min(lane.missed - 1, lane.beyond or 0)
        elif not full:
            lane.beyond = None

    def page_failed(self, priority: int) -> None:
        """Note that a page could not be read."""
        self._lanes[priority].paging = False

    def add_paged(self, record: TaskRecord, now: datetime) -> None:
        """Take a task that was read from the storage, whatever the bounds say."""
        if record.run_at is not None and record.run_at > now:
            heapq.heappush(self._later, (record.run_at, record.seq, record))
        else:
            heapq.heappush(self._lanes[record.priority].heap, (record.seq, record))

    def later_started(self) -> None:
        """Note that delayed tasks are being read."""
        self.later_paging, self.later_missed, self._passed = True, None, False

    def later_ended(self, last: datetime | None, *, full: bool) -> None:
        """Note what a page of delayed tasks brought."""
        self.later_paging = False
        if last is not None:
            self.later_beyond = last
        missed = self.later_missed
        if missed is not None:  # the page may have been read before its commit
            self.later_beyond = min(missed, self.later_beyond or missed)
        elif not full:
            self.later_beyond = None
