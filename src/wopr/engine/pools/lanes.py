"""The waiting tasks of one category: what runs next, with bounded memory.

Per priority a lane in enqueue order, before it one of those that go to the front, and one
heap of tasks that are not due yet.
Each keeps at most a window in memory, and its share of the bytes. What does not fit
stays in the storage; a bound (``beyond``) says from where on the storage may hold
tasks that memory does not, and they are paged in before memory runs dry.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from wopr.domain.due import due_at, span_since
from wopr.domain.place import FIRST, is_at_front, place
from wopr.domain.status import CLAIMABLE, TaskPriority
from wopr.domain.task import TaskRecord
from wopr.engine.memory import Memory, Waiting
from wopr.ports.storage import LaneCount

WINDOW = 10_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the records hold times
_TICK = timedelta.resolution


def score(record: TaskRecord, aging: float) -> float:
    """Return what orders tasks of all priorities by age; the least starts first.

    It does not change with time: one level of priority is worth ``aging`` seconds of waiting.
    Who goes to the front counts as the oldest.
    """
    if is_at_front(record):
        return -math.inf
    due = record.run_at or record.created_at
    return (due - _EPOCH).total_seconds() - record.priority * aging


class Key(NamedTuple):
    """What one lane holds; the greatest one goes first."""

    priority: int
    at_front: bool


def key_of(record: TaskRecord) -> Key:
    """Return which lane a task stands in."""
    return Key(record.priority, is_at_front(record))


class Lane(Waiting):
    """Due tasks of one priority: first in, first out, and the other way at the front."""

    __slots__ = ("asked", "before", "beyond", "missed", "newest", "paging")

    def __init__(self, memory: Memory, key: Key) -> None:
        super().__init__(memory)
        self.before = FIRST if key.at_front else 0
        """Less than the place of any of its tasks."""
        self.newest = self.before
        self.asked = 0  # bytes that the page which is being read may bring
        self.beyond: int | None = None  # tasks of later places may be in the storage only
        self.paging = False
        self.missed: int | None = None  # first place left to the storage while a page was read

    def leave(self, at: int) -> None:
        """Note that a due task at this place, or a later one, is in the storage only."""
        self.beyond = at - 1 if self.beyond is None else min(self.beyond, at - 1)
        self.missed = at if self.missed is None else min(self.missed, at)

    def leave_all(self) -> None:
        """Note that any due task may be in the storage only."""
        self.leave(self.before + 1)

    def take(self, record: TaskRecord) -> None:
        """Take a due task to its place."""
        self.push((place(record),), record)


class Lanes:
    """All waiting tasks of a category that this process knows of."""

    def __init__(self, window: int = WINDOW, memory: Memory | None = None) -> None:
        self._window = window
        self.memory = Memory() if memory is None else memory
        """What all lanes of the queue share."""
        keys = sorted(Key(int(one), end) for one in TaskPriority for end in (False, True))
        self._lanes = {key: Lane(self.memory, key) for key in reversed(keys)}
        self._usual = {key.priority: one for key, one in self._lanes.items() if not key.at_front}
        self._all_lanes = tuple(self._lanes.values())
        self._heaps = [lane.heap for lane in self._all_lanes]
        self.has_front = False
        """Whether any task of the category went to the front; else nobody looks for them."""
        self._later = Waiting(self.memory)
        self._later_asked = 0
        self.later_beyond: datetime | None = None
        self.later_paging = False
        self.later_missed: datetime | None = None  # as in a lane
        self.latest = datetime.min  # noqa: DTZ901 - naive UTC, as the records hold times
        """The latest time ever seen here. The system clock may step back; what was due by then
        and is in the storage is still a lane's to page in."""
        self.aging: float | None = None
        """A waiting task gains one level of priority per so many seconds; ``None``: never."""
        self.unregistered: set[str] = set()
        self._stuck_at: datetime | None = None  # so many are due then that a page has no others
        self._passed = False  # delayed tasks of the storage became due: when is the next one?
        self._fresh = False  # a page was read, and nothing of it could start yet

    def qsize(self) -> int:
        """Return how many tasks wait in memory."""
        return sum(map(len, self._lanes.values())) + len(self._later)

    def empty(self) -> bool:
        """Whether no task waits in memory."""
        return self.qsize() == 0

    def reset(self, now: datetime) -> None:
        """Read everything from the storage again."""
        for lane in self._used():
            lane.beyond = lane.before
            lane.missed = lane.before + 1  # a page being read may leave out what this is for
        self.later_beyond = self.later_missed = now

    def expect(self, count: LaneCount, now: datetime) -> None:
        """Note at opening what one lane has in the storage."""
        self.latest = max(self.latest, now)
        if count.at_front:
            self.has_front = True
            self._lanes[Key(count.priority, at_front=True)].leave_all()
        if count.due:
            self._lanes[Key(count.priority, at_front=False)].leave_all()
        if count.later:
            self.later_beyond = now

    def _used(self) -> Iterable[Lane]:
        """Return the lanes that may have tasks."""
        if self.has_front:
            return self._all_lanes
        return (lane for lane in self._all_lanes if not lane.before)

    # -- in -----------------------------------------------------------------

    def push(self, record: TaskRecord, now: datetime) -> bool:
        """Take a waiting task; return whether it is kept in memory."""
        self.latest = max(self.latest, now)
        if record.options is None:  # as nearly all of them
            lane, at = self._usual[record.priority], record.seq
        else:
            lane, at = self._lane(record), place(record)
        if record.run_at is not None and (due := due_at(record, now)) > now:
            return self._push_later(record, record.run_at, due)
        if lane.beyond is not None and at > lane.beyond:
            lane.missed = at if lane.missed is None else min(lane.missed, at)
            return False
        if at > lane.newest:
            if lane.full(self._window) and not lane.before:  # else the last ones are left
                lane.leave(at)  # a page that is being read may begin after it
                return False
            lane.newest = at
        lane.push((at,), record)
        return True

    def _lane(self, record: TaskRecord) -> Lane:
        key = key_of(record)
        self.has_front = self.has_front or key.at_front
        return self._lanes[key]

    def _push_later(self, record: TaskRecord, run_at: datetime, due: datetime) -> bool:
        if self.later_beyond is not None and run_at >= self.later_beyond:
            missed = self.later_missed
            self.later_missed = run_at if missed is None else min(missed, run_at)
            return False
        if self._later.full(self._window):
            self._leave_later(run_at)
            return False
        self._later.push((due, record.seq), record)
        return True

    def due(self, record: TaskRecord, now: datetime) -> datetime:
        """Return when a task that waits for a time is due; looks at all of them."""
        found = (item[0] for item in self._later.heap if item[-1] is record)
        return next(found, None) or due_at(record, now)

    def clock_set(self, back: timedelta) -> None:
        """Let spans go on as they were, now that the wall clock was set back by so much."""
        later = self._later.heap
        for number, (due, *rest) in enumerate(later):
            if span_since(rest[-1]) is not None:
                later[number] = (due - back, *rest)
        heapq.heapify(later)

    def holds(self, record: TaskRecord) -> bool:
        """Whether this very record waits in memory; looks at all of them."""
        waiting = (self._later, *self._lanes.values())
        return any(other is record for some in waiting for other in some.records())

    # -- out ----------------------------------------------------------------

    def promote(self, now: datetime) -> None:
        """Move tasks that have become due into their lane.

        What became due in the storage only is from now on the lanes' to page in: they do
        it in the order of enqueueing, a window at a time. Not before a page that was just
        read had its turn: while there is always something becoming due, nothing would start.
        """
        self.latest = max(self.latest, now)
        later = self._later
        while later.heap and later.heap[0][0] <= now:
            record = later.pop()
            if record.status in CLAIMABLE:
                self._lane(record).take(record)
        fresh, self._fresh = self._fresh, False
        if fresh or self.later_beyond is None or self.later_beyond > now or self._paging():
            return
        for lane in self._used():
            lane.leave_all()
        self.later_beyond = now + _TICK
        self._passed = True

    def _paging(self) -> bool:
        return self.later_paging or any(lane.paging for lane in self._lanes.values())

    def trim(self) -> list[TaskRecord]:
        """Leave to the storage again what is more than memory may hold; return it."""
        left: list[TaskRecord] = []
        for lane in self._lanes.values():
            if cut := lane.cut(self._window):
                lane.leave(place(cut[0]))
                left += cut
        if cut := self._later.cut(self._window):
            self._leave_later(min(record.run_at for record in cut if record.run_at is not None))
            left += cut
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
                record = lane.pop()
                if record.status in CLAIMABLE:
                    return record
            if lane.beyond is not None:
                return None
        return None

    def _pop_aged(self, aging: float) -> TaskRecord | None:
        best: tuple[float, int, Lane] | None = None
        for lane in self._lanes.values():
            while lane.heap and lane.first.status not in CLAIMABLE:
                lane.pop()
            if lane.beyond is not None and (not lane.heap or lane.heap[0][0] > lane.beyond):
                return None
            if lane.heap:
                found = score(lane.first, aging), lane.heap[0][0], lane
                best = found if best is None else min(best, found, key=lambda item: item[:2])
        return None if best is None else best[2].pop()

    def pages_above(self, record: TaskRecord) -> bool:
        """Whether the storage may hold due tasks that go before this one and memory does not."""
        return not self._all_here() and any(
            lane.beyond is not None and key > key_of(record) for key, lane in self._lanes.items()
        )

    def has_due(self) -> bool:
        """Whether a due task waits in memory."""
        return any(self._heaps)

    def bare(self) -> bool:
        """Whether nothing waits in the lanes, or has to be read into them."""
        return not any(self._heaps) and self._all_here()

    def _all_here(self) -> bool:
        """Whether no lane has tasks in the storage only."""
        for lane in self._all_lanes:  # noqa: SIM110 - a generator costs three times as much
            if lane.beyond is not None:
                return False
        return True

    def idle(self, now: datetime) -> bool:
        """Whether no due task waits anywhere, so that a new one may start before any other."""
        if not self.bare():
            return False
        if not self._later.heap and self.later_beyond is None:
            return True
        due = self.next_due()
        return due is None or due > now

    def next_due(self) -> datetime | None:
        """Return when the next task becomes due, as far as known."""
        later = self._later
        while later.heap and later.first.status not in CLAIMABLE:
            later.pop()
        known: datetime | None = later.heap[0][0] if later.heap else None
        if self.later_beyond is None or self._paging():  # the end of a page wakes the pool up
            return known
        return self.later_beyond if known is None else min(known, self.later_beyond)

    # -- paging -------------------------------------------------------------

    def lanes_to_page(self) -> list[tuple[Key, int]]:
        """Return which lanes run low and have more in the storage, and after what place."""
        return [
            (key, lane.beyond)
            for key, lane in self._lanes.items()
            if lane.beyond is not None
            and not lane.paging
            and (lane.low(self._window // 4) or lane.heap[0][0] > lane.beyond)
        ]

    def wants_later(self, now: datetime) -> bool:
        """Whether delayed tasks should be paged in."""
        if self.later_beyond is None or self.later_paging:
            return False
        if self._passed or self.later_beyond <= now:
            return True
        return self.later_beyond != self._stuck_at and self._later.low(self._window // 4)

    def page_started(self, key: Key) -> int:
        """Note that a page of a lane is being read; return how many bytes it may bring."""
        lane = self._lanes[key]
        lane.paging, lane.missed = True, None
        lane.asked = self._ask()
        return lane.asked

    def _ask(self) -> int:
        """Set memory aside for a page, until it is there."""
        asked = self.memory.page
        self.memory.free -= asked
        return asked

    def page_ended(self, key: Key, last: int | None, *, full: bool) -> None:
        """Note what a page brought: its last place, and whether there may be more."""
        lane = self._lanes[key]
        self.page_failed(key)
        self._fresh = True
        if last is not None and lane.beyond is not None:
            lane.beyond = max(lane.beyond, last)
        if lane.missed is not None:  # the page may have been read before its commit
            beyond = lane.before if lane.beyond is None else lane.beyond
            lane.beyond = min(lane.missed - 1, beyond)
        elif not full:
            lane.beyond = None

    def page_failed(self, key: Key) -> None:
        """Note that a page could not be read."""
        lane = self._lanes[key]
        self.memory.free += lane.asked
        lane.paging, lane.asked = False, 0

    def add_paged(self, record: TaskRecord, now: datetime) -> None:
        """Take a task that was read from the storage, whatever the bounds say."""
        if record.run_at is not None and (due := due_at(record, now)) > now:
            self._later.push((due, record.seq), record)
        else:
            self._lane(record).take(record)

    def later_started(self) -> int:
        """Note that delayed tasks are being read; return how many bytes they may have."""
        self.later_paging, self.later_missed, self._passed = True, None, False
        self._later_asked = self._ask()
        return self._later_asked

    def later_ended(self, last: datetime | None, *, full: bool) -> None:
        """Note what a page of delayed tasks brought.

        If it is as large as a page may be and all of it is due at the moment from which it
        was read, asking again would bring the same tasks: the others of that moment are
        read once they are due.
        """
        self.later_failed()
        self._stuck_at = last if full and last == self.later_beyond else None
        if last is not None:
            self.later_beyond = last
        missed = self.later_missed
        if missed is not None:  # the page may have been read before its commit
            self.later_beyond = min(missed, self.later_beyond or missed)
        elif not full:
            self.later_beyond = None

    def later_failed(self) -> None:
        """Note that delayed tasks could not be read."""
        self.memory.free += self._later_asked
        self.later_paging, self._later_asked = False, 0
