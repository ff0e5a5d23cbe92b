"""Which waiting task of a category starts next, where limits or fairness have a say.

Tasks are grouped by the values of all keys that count in the category. The first of each
group stands for it: groups are in a heap in the order of that first task; one that a meter
refuses is parked there until one of the meter's tasks has ended, or its period has passed.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from wopr.domain.limits import Limit, Meter, key_of, value_of
from wopr.domain.place import place
from wopr.domain.status import CLAIMABLE
from wopr.domain.task import TaskRecord
from wopr.engine.pools.lanes import Lanes, score
from wopr.ports.storage import weight

ROOM = 4
"""It takes this many windows out of the lanes at most, to find some that may start, and
this many times the bytes that are free."""
FEWEST_SWEPT = 1_000

Values = tuple[str | None, ...]


class Group:
    """Waiting tasks that the same limits hold for."""

    __slots__ = ("heap", "meters", "parked", "stamp", "turn")

    def __init__(self, meters: list[Meter], turn: int) -> None:
        self.meters = meters
        self.heap: list[tuple[float, int, int, TaskRecord]] = []
        """By rank and number, with the bytes that each takes."""
        self.parked = False
        self.stamp = 0
        """Counts how often it was lined up: only its last place counts."""
        self.turn = turn


class Gate:
    """Chooses what starts in one category, and counts it."""

    def __init__(
        self,
        lanes: Lanes,
        limits: Sequence[Limit],
        arguments: Callable[[TaskRecord], Mapping[str, object]],
        window: int,
    ) -> None:
        self.limits = limits
        whole = [limit for limit in limits if limit.whole]
        self._lanes = lanes
        self._arguments = arguments
        self._room = ROOM * window
        self._whole = [
            Meter(one) for one in whole if one.concurrency is not None or one.rate is not None
        ]
        self._keyed = [limit for limit in limits if not limit.whole]
        self._fair_by = next((one.fair_by for one in whole if one.fair_by is not None), None)
        self._sorts = bool(self._keyed) or self._fair_by is not None
        self._reads = self._fair_by is not None or any(one.key is not None for one in self._keyed)
        self._meters: dict[tuple[int, str], Meter] = {}
        self._groups: dict[Values, Group] = {}
        self._lined_up: list[tuple[float, float, int, int, int, Group]] = []
        self._alarms: list[tuple[datetime, int, Meter]] = []
        self._alarmed: set[int] = set()
        self._numbers = itertools.count()
        self._taken: dict[str, tuple[datetime, list[Meter]]] = {}
        self._turn = 0
        self._sweep_at = FEWEST_SWEPT
        self._waiting = self._bytes = 0
        self._latest = datetime.min  # noqa: DTZ901 - a steady time, as all that is counted here
        self.next_at: datetime | None = None
        """When a period has passed that holds something back."""

    # -- out ------------------------------------------------------------------

    def pop(self, now: datetime) -> TaskRecord | None:
        """Return the next task that may start, counted as started; ``None`` if there is none."""
        self._latest, self.next_at = now, None
        for meter in self._whole:
            at = meter.next_at(now)
            if at is None or at > now:
                self.next_at = at
                return None
        if not self._sorts:
            record = self._lanes.pop()
            if record is not None:
                self._count(record, self._whole, now)
            return record
        while self._alarms and self._alarms[0][0] <= now:
            meter = heapq.heappop(self._alarms)[2]
            self._alarmed.discard(id(meter))
            self._unpark(meter)
        while self._lanes.has_due() and not self._full():
            if (taken := self._lanes.pop()) is None:
                break
            self.put(taken)
        record = self._choose(now)
        if record is None and self._alarms:
            self.next_at = self._alarms[0][0]
        return record

    def admit(self, record: TaskRecord, now: datetime) -> bool:
        """Count a new task as started, if nothing stands before it."""
        self._latest = now
        if self._waiting:
            return False
        self._sweep()
        meters = [*self._whole, *self._meters_of(self._values(record))] if self._sorts else None
        meters = self._whole if meters is None else meters
        if _first_refusing(meters, now) is not None:
            return False
        self._count(record, meters, now)
        return True

    def put(self, record: TaskRecord) -> None:
        """Take a due task out of the lanes."""
        values = self._values(record)
        group = self._groups.get(values)
        if group is None:
            self._sweep()
            group = self._groups[values] = Group(self._meters_of(values), self._turn)
        aging = self._lanes.aging
        rank = -float(record.priority) if aging is None else score(record, aging)
        size = weight(record)
        heapq.heappush(group.heap, (rank, place(record), size, record))
        self._waiting += 1
        self._hold(size)
        if not group.parked and group.heap[0][-1] is record:
            if len(group.heap) == 1:
                group.turn = max(group.turn, self._turn)
            self._line_up(group)

    def _hold(self, size: int) -> None:
        """Count bytes of waiting tasks: so many more, or fewer."""
        self._bytes += size
        self._lanes.memory.free -= size

    def _full(self) -> bool:
        """Whether it holds as much as it may; one task is never too much."""
        if self._waiting >= self._room:
            return True
        return self._waiting > 0 and self._bytes >= ROOM * self._lanes.memory.free

    def _values(self, record: TaskRecord) -> Values:
        arguments = self._arguments(record) if self._reads else {}
        values = [value_of(limit, record.name, arguments) for limit in self._keyed]
        if self._fair_by is not None:
            values.append(key_of(self._fair_by, arguments))
        return tuple(values)

    def _meters_of(self, values: Values) -> list[Meter]:
        found = []
        for number, (limit, value) in enumerate(zip(self._keyed, values, strict=False)):
            if value is not None:
                meter = self._meters.get((number, value))
                if meter is None:
                    meter = self._meters[number, value] = Meter(limit, value)
                found.append(meter)
        return found

    def _line_up(self, group: Group) -> None:
        group.stamp += 1
        rank, at, _, _ = group.heap[0]
        turn = 0 if self._fair_by is None else group.turn
        number = next(self._numbers)
        heapq.heappush(self._lined_up, (turn, rank, at, number, group.stamp, group))

    def _choose(self, now: datetime) -> TaskRecord | None:
        while self._lined_up:
            *_, stamp, group = self._lined_up[0]
            if stamp != group.stamp:
                heapq.heappop(self._lined_up)
                continue
            record = group.heap[0][-1]
            if record.status not in CLAIMABLE:  # cancelled meanwhile
                heapq.heappop(self._lined_up)
                self._take_first(group)
                continue
            if self._may_page(record):
                return None
            heapq.heappop(self._lined_up)
            if (refusing := _first_refusing(group.meters, now)) is not None:
                self._park(group, refusing, now)
                continue
            self._turn = max(self._turn, group.turn)
            group.turn = self._turn + 1
            self._take_first(group)
            whole = self._whole
            self._count(record, [*whole, *group.meters] if whole else group.meters, now)
            return record
        return None

    def _may_page(self, record: TaskRecord) -> bool:
        """Whether one that goes before it may be in the storage only, to be paged in first."""
        if self._fair_by is not None or self._full():
            return False
        return self._lanes.pages_above(record)

    def _take_first(self, group: Group) -> None:
        _, _, size, _ = heapq.heappop(group.heap)
        self._waiting -= 1
        self._hold(-size)
        if group.heap:
            self._line_up(group)
        else:
            group.stamp += 1

    def _park(self, group: Group, meter: Meter, now: datetime) -> None:
        group.parked = True
        meter.parked.append(group)
        at = meter.next_at(now)
        if at is not None and id(meter) not in self._alarmed:
            self._alarmed.add(id(meter))
            heapq.heappush(self._alarms, (at, next(self._numbers), meter))

    def _unpark(self, meter: Meter) -> None:
        groups, meter.parked = meter.parked, []
        for group in groups:
            group.parked = False
            group.turn = max(group.turn, self._turn)  # what it could not have is not owed to it
            if group.heap:
                self._line_up(group)

    def _sweep(self) -> None:
        """Forget groups and meters with nothing to remember, now and then."""
        if max(len(self._groups), len(self._meters)) < self._sweep_at:
            return
        now = self._latest
        self._groups = {
            values: group
            for values, group in self._groups.items()
            if group.heap or group.turn > self._turn
        }
        used = {id(meter) for group in self._groups.values() for meter in group.meters}
        self._meters = {
            key: meter
            for key, meter in self._meters.items()
            if id(meter) in used or id(meter) in self._alarmed or not meter.idle(now)
        }
        self._sweep_at = max(FEWEST_SWEPT, 2 * len(self._groups), 2 * len(self._meters))

    def empty(self) -> list[TaskRecord]:
        """Give back all that wait here, to be grouped anew."""
        waiting = list(self.records())
        for group in self._groups.values():
            group.heap = []
        self._hold(-self._bytes)
        self._groups, self._lined_up, self._waiting = {}, [], 0
        return waiting

    # -- count ----------------------------------------------------------------

    def _count(self, record: TaskRecord, meters: list[Meter], now: datetime) -> None:
        for meter in meters:
            meter.start(now)
        self._taken[record.id] = now, meters

    def take(self, record: TaskRecord) -> Sequence[Meter]:
        """Return the meters that count a task which starts; to be given to :meth:`leave`."""
        taken = self._taken.pop(record.id, None)
        return self.enter(record) if taken is None else taken[1]

    def give_back(self, task_id: str) -> None:
        """Count a task no longer that was chosen, and did not start after all."""
        at, meters = self._taken.pop(task_id, (self._latest, []))
        for meter in meters:
            meter.take_back(at)
            self._unpark(meter)

    def leave(self, meters: Iterable[Meter]) -> None:
        """Count a task no longer that ran."""
        for meter in meters:
            meter.running -= 1
            self._unpark(meter)

    def enter(self, record: TaskRecord) -> Sequence[Meter]:
        """Count a task that runs already; its start is told by :meth:`started`."""
        meters = self._all_meters(record)
        for meter in meters:
            meter.running += 1
        return meters

    def enter_again(self, record: TaskRecord) -> Sequence[Meter] | None:
        """Count a task that waited and goes on, where all limits have room; else ``None``."""
        return None if self.full(record) else self.enter(record)

    def full(self, record: TaskRecord) -> list[Meter]:
        """Return the limits of a task under which as many run as may."""
        return [
            meter
            for meter in self._all_meters(record)
            if meter.limit.concurrency is not None and meter.running >= meter.limit.concurrency
        ]

    def started(self, record: TaskRecord, at: datetime) -> None:
        """Count a start of the past; in order."""
        for meter in self._all_meters(record):
            if meter.limit.rate is not None:
                meter.running -= 1
                meter.start(at)

    def _all_meters(self, record: TaskRecord) -> list[Meter]:
        keyed = self._meters_of(self._values(record)) if self._sorts else []
        return [*self._whole, *keyed]

    # -- look -----------------------------------------------------------------

    def records(self) -> Iterator[TaskRecord]:
        """Yield the tasks that wait here."""
        for group in self._groups.values():
            for _, _, _, record in group.heap:
                if record.status in CLAIMABLE:
                    yield record

    def why(self, record: TaskRecord, now: datetime) -> str | None:
        """Say which limit holds a task back now; ``None`` if none does."""
        for meter in self._all_meters(record):
            if _refuses(meter, now):
                return meter.why(now)
        return None

    def reached(self, now: datetime) -> list[tuple[Meter, int | None]]:
        """Return the limits that let nothing start now, and how many tasks wait for each.

        ``None`` is all that are due: it is a limit of the whole category.
        """
        whole: list[tuple[Meter, int | None]] = [
            (meter, None) for meter in self._whole if _refuses(meter, now)
        ]
        keyed = [
            (meter, sum(len(group.heap) for group in meter.parked))
            for meter in self._meters.values()
            if meter.parked and _refuses(meter, now)
        ]
        return whole + keyed


def _first_refusing(meters: list[Meter], now: datetime) -> Meter | None:
    for meter in meters:
        if _refuses(meter, now):
            return meter
    return None


def _refuses(meter: Meter, now: datetime) -> bool:
    at = meter.next_at(now)
    return at is None or at > now
