"""What of a simulated storage survives the death of its process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from wopr.domain.act import Act
from wopr.domain.fold import apply
from wopr.domain.logline import LogLine
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.schedule import Schedule
from wopr.domain.status import LIVE, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.storage import Done
from wopr.storage.seed.rules import MAX_LINES

Row = tuple[Any, ...]


@dataclass(slots=True)
class Write:
    """What was handed over together: durable together, or refused together."""

    done: Done
    at: float = 0.0
    """When it was handed over, in virtual seconds."""
    records: list[TaskRecord] = field(default_factory=list)
    before: list[Row] = field(default_factory=list)
    """Per record, to go back to if it fails; empty for a new task."""
    rows: list[Row] = field(default_factory=list)
    """Per record, what it shows since then."""
    made: list[Transition] = field(default_factory=list)
    added: dict[str, Row] = field(default_factory=dict)
    """The rows of new tasks, as they were when they were added."""
    touched: TaskRecord | None = None
    """A task whose progress is to be kept; no transition."""
    operation: Callable[[], object] | None = None
    """Changes what is no task."""


class State(NamedTuple):
    """A database as it is after a write."""

    records: dict[str, Row]
    log: int
    """How many transitions there are."""
    schedules: dict[str, Schedule]
    rules: dict[tuple[RuleKind, str], Rule]
    acts: dict[int, Act]
    lines: list[LogLine]


class Watching(Protocol):
    """Who is told of what becomes of a simulated database."""

    def handed_over(self, write: Write, under_way: Iterable[Write]) -> None:
        """Look at what was handed over, while other writes are under way."""
        ...

    def durable(
        self, record: TaskRecord, made: Transition, before: TaskStatus | None, at: float
    ) -> None:
        """Look at a transition: its task after it, the status before, when it was handed over."""
        ...

    def differs(self, record: TaskRecord, said: Row) -> None:
        """Look at a task that is not on disk what memory said when it was handed over."""
        ...

    def synced(self) -> None:
        """Know that all that is there now survives whatever happens."""
        ...

    def lost(self, disk: Disk, before: Container[str]) -> None:
        """Look at what is left after a power cut, and believe no more what is not there.

        ``before`` are the tasks that were there until then.
        """
        ...


class Disk:
    """The durable state of one simulated database, changed by whole writes only.

    Args:
        watching: is told of what becomes of it.
        synced: whether each write is synced before it is acknowledged. Else it survives its
            process, and a power cut only once there was a :meth:`sync`.
    """

    def __init__(self, watching: Watching | None = None, *, synced: bool = True) -> None:
        self.records: dict[str, TaskRecord] = {}
        self.log: list[Transition] = []
        self.by_task: dict[str, list[Transition]] = {}
        self.schedules: dict[str, Schedule] = {}
        self.rules: dict[tuple[RuleKind, str], Rule] = {}
        self.acts: dict[int, Act] = {}
        self.lines: deque[LogLine] = deque(maxlen=MAX_LINES)
        self.seq = 0
        """The number of the newest durable transition."""
        self.live = 0
        """How many tasks have not ended."""
        self._watching = watching
        self._all_synced = synced
        self._states: list[State] = [] if synced else [self._state()]
        """What a power cut may leave: as it was synced last, and after each write since."""

    def handed_over(self, write: Write, under_way: Iterable[Write]) -> None:
        """Show a write to whoever watches."""
        if self._watching is not None:
            self._watching.handed_over(write, under_way)

    def commit(self, writes: Sequence[Write]) -> None:
        """Make writes durable."""
        for write in writes:
            for made in write.made:
                self._apply(made, write)
            for said in write.rows:
                self._compare(said)
            if write.operation is not None:
                write.operation()
            if (touched := write.touched) is not None:
                self._touch(touched)
            if not self._all_synced:
                self._states.append(self._state())
        if self._all_synced and self._watching is not None:
            self._watching.synced()

    # -- power cuts -------------------------------------------------------------

    def sync(self) -> None:
        """Have all that is there survive whatever happens."""
        del self._states[:-1]
        if self._watching is not None:
            self._watching.synced()

    def cut_off(self, choose: Callable[[int], int]) -> None:
        """Lose writes that were not synced: the newest, up to one that ``choose`` names by number.

        They were appended one after the other, so what is left ends with a whole one.
        """
        before = frozenset(self.records)
        if self._states:
            del self._states[choose(len(self._states)) + 1 :]
            self._load(self._states[-1])
            self._states = self._states[-1:]  # what is read after that is on the disk
        elif self._watching is not None:
            self._watching.synced()
        if self._watching is not None:
            self._watching.lost(self, before)

    def _state(self) -> State:
        return State(
            {record.id: record.row() for record in self.records.values()},
            len(self.log),
            dict(self.schedules),
            dict(self.rules),
            dict(self.acts),
            list(self.lines),
        )

    def _load(self, state: State) -> None:
        self.records = {key: TaskRecord.from_row(row) for key, row in state.records.items()}
        self.schedules, self.rules = dict(state.schedules), dict(state.rules)
        self.acts, self.lines = dict(state.acts), deque(state.lines, maxlen=MAX_LINES)
        del self.log[state.log :]
        self.by_task = {}
        for made in self.log:
            self.by_task.setdefault(made.task_id, []).append(made)
        self.seq = self.log[-1].seq if self.log else 0
        self.live = sum(record.status in LIVE for record in self.records.values())

    def _apply(self, made: Transition, write: Write) -> None:
        if made.move is Move.ADD:
            record = TaskRecord.from_row(write.added[made.task_id])
            self.records[record.id] = record
            before = None
        else:
            record = self.records[made.task_id]
            before = record.status
            apply(record, made)
            record.stored = record.row()
        self.live += (record.status in LIVE) - (before in LIVE)
        self.log.append(made)
        self.by_task.setdefault(record.id, []).append(made)
        self.seq = made.seq
        if self._watching is not None:
            self._watching.durable(record, made, before, write.at)

    def _compare(self, said: Row) -> None:
        """Tell if a task that was written is not what its writer took it for."""
        record = self.records.get(said[0])
        if record is None or self._watching is None:
            return
        there = TaskRecord.from_row(said)
        there.progress, there.progress_message = record.progress, record.progress_message
        there.progress_data = record.progress_data
        if there.row() != record.row():
            self._watching.differs(record, said)

    def _touch(self, touched: TaskRecord) -> None:
        record = self.records.get(touched.id)
        if record is not None and record.version == touched.version:
            record.progress = touched.progress
            record.progress_message = touched.progress_message
            record.progress_data = touched.progress_data
            record.stored = record.row()
