"""What must always hold, looked at after every step of a simulation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.domain.due import EXPIRES
from wopr.domain.snapshot import parents_of
from wopr.domain.spoken import counted
from wopr.domain.status import CLAIMABLE, LIVE, TERMINAL, TRANSITIONS, Move, TaskStatus
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.domain.transition import Transition
from wopr.simulation.clock import VirtualClock
from wopr.simulation.disk import Disk, Write
from wopr.simulation.trace import Trace

PATIENCE = 1.0
"""Seconds after which something more urgent has to be known."""
_RATE_SLACK = 1e-4
"""Seconds; times in a row of the table are whole microseconds."""


@dataclass(frozen=True, slots=True)
class Promised:
    """What a category's limits say, as long as they don't change.

    Without any limit its tasks start by their priority, which is looked at then.
    """

    concurrency: int | None = None
    rate: int | None = None
    per: float = 0.0


def _due(record: TaskRecord) -> bool:
    """Whether a task may start; one that may expire would be cancelled instead."""
    waits = record.status in CLAIMABLE and not record.waiting and record.run_at is None
    return waits and EXPIRES not in (record.options or "")


def _lives(record: TaskRecord) -> bool:
    return record.status in LIVE


@dataclass(slots=True)
class Watch:
    """Notes what is wrong; the simulation ends at the next step then.

    Args:
        clock: the virtual time.
        trace: of what happened.
        promised: the limits of categories, where they don't change.
    """

    clock: VirtualClock
    trace: Trace
    promised: Mapping[str, Promised] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """What does not hold, in words."""
    starts: int = 0
    """How often a function began."""
    running: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Attempt and category, by the id of the task whose function runs now."""
    _waiting: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)
    _begun: set[tuple[str, int]] = field(default_factory=set)
    _keys: dict[str, str] = field(default_factory=dict)
    _planned: set[tuple[str, datetime]] = field(default_factory=set)
    _ends: dict[str, set[TaskStatus]] = field(default_factory=dict)
    _claims: dict[str, list[float]] = field(default_factory=dict)
    _acknowledged: set[str] = field(default_factory=set)
    """Tasks of which somebody was told that they are enqueued, since the last sync."""
    _safe: set[str] = field(default_factory=set)
    """Those of before."""

    def _that(self, text: str) -> None:
        self.wrong.append(text)
        self.trace.add(self.clock.seconds, f"WRONG {text}")

    # -- writes -------------------------------------------------------------

    def handed_over(self, write: Write, under_way: Iterable[Write]) -> None:
        """Look at what was handed over: no two writes may claim one task."""
        self._look_at_order(write, under_way := list(under_way))
        claims = {made.task_id for made in write.made if made.move is Move.CLAIM}
        for other in under_way if claims else ():
            for made in other.made:
                if made.move is Move.CLAIM and made.task_id in claims:
                    name = self.trace.name(made.task_id)
                    self._that(f"{name} is claimed while a claim of it is being written")

    def _look_at_order(self, write: Write, under_way: Sequence[Write]) -> None:
        """Look whether something more urgent was left out that has waited for a while."""
        claims = {made.task_id for made in write.made if made.move is Move.CLAIM}
        busy = {made.task_id for one in (write, *under_way) for made in one.made}
        for record in write.records:
            if record.id not in claims or self.promised.get(record.category) != Promised():
                continue
            for task_id, (category, priority, since) in self._waiting.items():
                if category != record.category or priority <= record.priority:
                    continue
                if task_id not in busy and since < self.clock.seconds - PATIENCE:
                    names = f"{self.trace.name(record.id)} before {self.trace.name(task_id)}"
                    self._that(f"{names}, which is more urgent and has waited")

    def durable(
        self, record: TaskRecord, made: Transition, before: TaskStatus | None, at: float
    ) -> None:
        """Look at a transition that is on disk."""
        name = self.trace.name(record.id)
        was = "new" if made.from_status is None else made.from_status.value
        self.trace.add(
            self.clock.seconds,
            f"{name} {record.name} {made.move.value} {was}-{made.to_status.value} {made.attempt} "
            f"{made.reason.partition(' ')[0]}",
        )
        if made.from_status != before:
            self._that(f"{name} goes from {made.from_status} by the log and from {before} in fact")
        if TRANSITIONS.get((made.from_status, made.move)) is not made.to_status:
            self._that(f"{name}: {made.move.value} does not lead from {was} to {record.status}")
        known = self._attempts.get(record.id, 0)
        if made.attempt != known + (made.move is Move.CLAIM):
            self._that(f"{name}: attempt {made.attempt} comes after attempt {known}")
        self._attempts[record.id] = made.attempt
        self._look_at_key(record, before)
        if _due(record):
            self._waiting[record.id] = record.category, record.priority, self.clock.seconds
        else:
            self._waiting.pop(record.id, None)
        if made.move is Move.CLAIM:
            self._look_at_rate(record, at)
        if record.status in TERMINAL:
            self._ends.setdefault(record.id, set()).add(record.status)
        if made.move is Move.ADD and record.schedule and record.scheduled_for:
            plan = record.schedule, record.scheduled_for
            if plan in self._planned:
                self._that(f"schedule {plan[0]} fired twice for {plan[1]}")
            self._planned.add(plan)

    def _look_at_key(self, record: TaskRecord, before: TaskStatus | None) -> None:
        key = record.unique_key
        if key is None:
            return
        holder = self._keys.get(key)
        if record.status in LIVE and before not in LIVE:
            if holder is not None and holder != record.id:
                names = f"{self.trace.name(holder)} and {self.trace.name(record.id)}"
                self._that(f"{names} both live with the unique key {key!r}")
            self._keys[key] = record.id
        elif record.status not in LIVE and holder == record.id:
            del self._keys[key]

    def _look_at_rate(self, record: TaskRecord, at: float) -> None:
        promised = self.promised.get(record.category)
        if promised is None or promised.rate is None:
            return
        claims = self._claims.setdefault(record.category, [])
        claims.append(at)
        claims.sort()
        most = promised.rate
        for first, last in zip(claims, claims[most:], strict=False):
            if last - first < promised.per - _RATE_SLACK:
                self._that(
                    f"{most + 1} tasks of {record.category} start within {last - first:.6f} s; its "
                    f"rate is {most} per {promised.per:g} s"
                )
                return

    def synced(self) -> None:
        """Know that what was acknowledged so far survives whatever happens."""
        self._safe |= self._acknowledged
        self._acknowledged.clear()

    def lost(self, disk: Disk, before: Container[str]) -> None:
        """Look at what a power cut left, and believe no more what is not there.

        What was synced is there, and what is there belongs together.
        """
        records = disk.records
        left = counted(len(records), "task")
        self.trace.add(self.clock.seconds, f"the power is cut, which leaves {left}")
        for task_id in sorted(self._safe):
            if task_id in before and task_id not in records:
                self._that(f"{self.trace.name(task_id)} was acknowledged, synced, and is lost")
        for record in records.values():
            self._look_at_history(record, disk.by_task.get(record.id, ()))
            for parent in parents_of(record):
                if parent in before and parent not in records:
                    names = f"{self.trace.name(record.id)} without {self.trace.name(parent)}"
                    self._that(f"a power cut leaves {names}, which it depends on")
        for task_id in disk.by_task:
            if task_id in before and task_id not in records:
                self._that(f"a power cut leaves moves of {self.trace.name(task_id)}, and no task")
        self._acknowledged.clear()
        self._begin_anew(disk)

    def _look_at_history(self, record: TaskRecord, moves: Sequence[Transition]) -> None:
        last = moves[-1] if moves else None
        if last is None or (last.to_status, last.seq) != (record.status, record.version):
            name = self.trace.name(record.id)
            self._that(f"a power cut leaves {name} {record.status}, and its moves say {last}")

    def _begin_anew(self, disk: Disk) -> None:
        """Know what the disk says, and nothing else."""
        records, now = disk.records.values(), self.clock.seconds
        self._attempts = {one.id: one.attempt for one in records}
        self._begun = {pair for pair in self._begun if pair[1] <= self._attempts.get(pair[0], 0)}
        self._keys = {one.unique_key: one.id for one in records if one.unique_key and _lives(one)}
        self._planned = {
            (one.schedule, one.scheduled_for)
            for one in records
            if one.schedule and one.scheduled_for
        }
        self._ends, self._claims = {}, {}
        for made in disk.log:
            if made.to_status in TERMINAL:
                self._ends.setdefault(made.task_id, set()).add(made.to_status)
        self._waiting = {one.id: (one.category, one.priority, now) for one in records if _due(one)}

    def differs(self, record: TaskRecord, said: tuple[Any, ...]) -> None:
        """Note a task that is not on disk what memory took it for."""
        wrong = [
            f"{name} {ours!r:.60} is {theirs!r:.60}"
            for name, ours, theirs in zip(COLUMNS, said, record.row(), strict=True)
            if ours != theirs and not name.startswith("progress")
        ]
        self._that(f"{self.trace.name(record.id)} is not on disk as in memory: {', '.join(wrong)}")

    # -- functions ------------------------------------------------------------

    def began(self, task_id: str, attempt: int, category: str) -> None:
        """Look at a function that begins: its claim is durable, and nobody else runs it."""
        name = self.trace.name(task_id)
        self.starts += 1
        self.trace.add(self.clock.seconds, f"{name} begins {attempt}")
        if self._attempts.get(task_id, 0) < attempt:
            self._that(f"{name} runs attempt {attempt}, whose claim is not on disk")
        if (task_id, attempt) in self._begun:
            self._that(f"{name} runs attempt {attempt} for the second time")
        if task_id in self.running:
            self._that(f"{name} runs twice at the same time")
        self._begun.add((task_id, attempt))
        self.running[task_id] = attempt, category
        promised = self.promised.get(category)
        if promised is not None and promised.concurrency is not None:
            count = Counter(one for _, one in self.running.values())[category]
            if count > promised.concurrency:
                self._that(f"of {category} run {count}; its limit is {promised.concurrency}")

    def ended(self, task_id: str, attempt: int) -> None:
        """Note that a function has ended."""
        if self.running.get(task_id, (0, ""))[0] == attempt:
            del self.running[task_id]
            self.trace.add(self.clock.seconds, f"{self.trace.name(task_id)} ends {attempt}")

    def died(self) -> None:
        """Note that the process died, and all functions with it."""
        self.running.clear()
        self.trace.add(self.clock.seconds, "the process dies")

    def leaked(self, task_id: str) -> None:
        """Note a task that ended and is still in memory."""
        self._that(f"{self.trace.name(task_id)} has ended, and memory holds on to it")

    # -- answers --------------------------------------------------------------

    def acknowledged(self, ids: Iterable[str]) -> None:
        """Look at tasks whose enqueueing was acknowledged: they are on disk."""
        for task_id in ids:
            if task_id not in self._attempts:
                self._that(f"{self.trace.name(task_id)} was acknowledged and is not on disk")
            self._acknowledged.add(task_id)

    def told_end(self, record: TaskRecord) -> None:
        """Look at the end of a task that somebody was told: it is on disk."""
        if record.status not in self._ends.get(record.id, ()):
            name = self.trace.name(record.id)
            self._that(f"somebody was told that {name} is {record.status}, which is not on disk")
