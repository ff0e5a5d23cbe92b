"""The port of one owner: what the one engine that owns the tasks asks of a storage.

Nothing here assumes a file or a dialect of SQL, but all of it assumes that **one
process** owns what is stored, and writes from one event loop:

- :meth:`Log.submit` changes the caller's records before anything is written, gives the
  transitions the next numbers of this process, and takes all of them or none. Who starts
  next, who holds a unique key and whose parents have ended is decided on these records.
- ``lanes``, ``unique_keys``, ``waiting`` and ``orphans`` are read at opening. From then on
  the engine goes by what it wrote itself, and never learns what another process wrote.

So a database that many hosts share can't be one more storage behind this port: it needs
an engine of its own, behind :class:`wopr.ports.backend.Backend`.

There are eight roles, and :class:`Storage` is all of them. Ask for the role that you need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from wopr.domain.logline import LogLine
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.schedule import Schedule
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.cut import Cut
from wopr.ports.past import Past
from wopr.ports.selecting import ActLog, Selecting
from wopr.ports.upkeep import Upkeep

Entry = tuple[TaskRecord, Transition]
Done = Callable[[BaseException | None], None]

PAGE_BYTES = 16 * 1024 * 1024
"""A page ends with the task that brings it to so many bytes, however few those are."""


def weight(record: TaskRecord) -> int:
    """Return about how many bytes a task takes in memory: its texts, and a little for the rest."""
    size = 200 + len(record.args) + len(record.kwargs)
    if record.result is not None:
        size += len(record.result)
    if record.error is not None:
        size += len(record.error)
    if record.depends_on is not None:
        size += len(record.depends_on)
    return size


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list: all given conditions hold; newest first."""

    category: str | None = None
    status: TaskStatus | None = None
    name: str | None = None
    flow_id: str | None = None
    schedule: str | None = None
    limit: int = 100
    offset: int = 0
    before_seq: int | None = None
    most_bytes: int | None = None
    """The list may end with the one that brings it to so many bytes, by :func:`weight`."""


@dataclass(frozen=True, slots=True)
class LaneCount:
    """How many waiting tasks one lane has in the storage: due, and due later."""

    category: str
    priority: int
    due: int
    later: int
    at_front: int = 0
    """How many of all of them go to the front."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """How much a query may cost."""

    seconds: float = 30.0
    rows: int = 100_000
    bytes: int = 32 * 1024 * 1024
    """Of an answer; it ends with the last row that fits."""
    own: bool = False
    """Whether wopr asks, in words of its own: then the text need not be checked."""
    whole: bool = False
    """Whether what wopr asks is about the archive too, as all that people ask is."""
    archive: Path | None = None  # that it spans
    since: date | None = None
    """From which day on (UTC) the archive's rows count; all if ``None``."""


@dataclass(frozen=True, slots=True)
class QueryRows:
    """What a query answered."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: Cut | None = None
    """Why there are more rows than these; ``None``: there are not."""


@dataclass(frozen=True, slots=True)
class JournalState:
    """How far what can be asked is behind what was acknowledged."""

    rows: int
    """Changes that are durable and not in the tables yet."""
    bytes: int
    seconds: float
    """Since when there are some, about."""
    synced: bool
    """Whether each change is on disk before it is acknowledged."""
    inline: bool
    """Whether a lone change may be synced where it is made, now."""
    trouble: str | None = None
    """Why the tables can't be brought up just now; ``None``: they are being."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of the database that nobody writes to, there for some seconds."""

    path: Path
    moment: datetime
    """Every change acknowledged until then is in it, and none that came later; aware, UTC."""
    taken: float
    """The same on the monotonic clock of the owner."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Exact numbers over all stored tasks."""

    by_status: dict[str, int] = field(default_factory=dict)
    by_category: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScheduleProgress:
    """What the tasks of one schedule say about it."""

    newest: datetime | None = None
    """The newest planned time (UTC) that was enqueued under its present plan."""
    newest_id: str | None = None
    """Of that task."""
    live: tuple[str, ...] = ()
    """Ids of its tasks that have not ended, in enqueue order."""
    succeeded: str | None = None
    """Id of the task that succeeded last."""


class Log(Protocol):
    """The transitions on their way to the disk: numbered, applied, durable, in this order."""

    def submit(
        self, entries: Sequence[Entry], done: Done, *, urgent: bool = True, now: bool = False
    ) -> None:
        """Apply the transitions to their records and make them durable, all or none.

        They are durable in the order of hand-over. The records show the change and the
        transitions have their numbers when this returns, before anything is written.
        Entries of one record stand together.

        ``done`` is called on the event loop: with ``None`` once they are on disk,
        or with the error, and then the records are as they were before. A write
        that is not urgent may wait a few milliseconds to share a commit. With ``now``
        it may be called before this returns.
        """
        ...

    def in_flight(self, record: TaskRecord) -> bool:
        """Whether the record shows a transition that is not on disk yet."""
        ...

    async def flush(self) -> None:
        """Return when everything submitted so far was written or refused."""
        ...

    @property
    def journal(self) -> JournalState | None:
        """How far questions are behind; ``None`` where they never are."""
        ...

    @property
    def full(self) -> bool:
        """Whether callers should wait for :meth:`room` before they submit more."""
        ...

    @property
    def overfull(self) -> bool:
        """Whether so much is pending that no task should be claimed either."""
        ...

    async def room(self) -> None:
        """Return when the storage has room for more pending writes (backpressure)."""
        ...

    def hurry(self) -> None:
        """Let nothing wait for company any more: somebody waits for it."""
        ...

    def touch(self, record: TaskRecord) -> None:
        """Store the record's progress soon; it is no transition."""
        ...


class Waiting(Protocol):
    """What the engine fills its memory with, at opening and page by page: tasks not ended yet.

    A page has at most ``limit`` tasks, and ends before that with the one that brings it to
    ``most_bytes`` together, by :func:`weight`: there is at least one if there is any. So a
    page is the last one if it has fewer tasks than ``limit`` *and* fewer bytes than that;
    who only wants all of them goes on until a page is empty.
    """

    async def ready(
        self,
        category: str,
        priority: int,
        after_seq: int,
        now: datetime,
        skip: Sequence[str],
        limit: int,
        *,
        most_bytes: int = PAGE_BYTES,
        at_front: bool | None = None,
    ) -> list[TaskRecord]:
        """Return a page of tasks due at ``now``, in enqueue order; names in ``skip`` left out.

        With ``at_front=False`` without those that go to the front. With ``True`` these alone, the
        newest first, and ``after_seq`` is minus the seq of the last one that is known.
        """
        ...

    async def delayed(
        self,
        category: str,
        not_before: datetime,
        skip: Sequence[str],
        limit: int,
        *,
        most_bytes: int = PAGE_BYTES,
    ) -> list[TaskRecord]:
        """Return a page of waiting tasks due at or after ``not_before``, the earliest first."""
        ...

    async def lanes(self, now: datetime) -> list[LaneCount]:
        """Return the lanes that have waiting tasks; read at opening."""
        ...

    async def waiting(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of tasks that wait for others, in enqueue order; read at opening."""
        ...

    async def orphans(
        self, after_seq: int, limit: int, *, most_bytes: int = PAGE_BYTES
    ) -> list[TaskRecord]:
        """Return a page of the STARTED tasks, in enqueue order; at opening, their owner is dead."""
        ...

    async def unique_keys(self) -> dict[str, str]:
        """Return key -> task id of all live tasks that have a key; read at opening."""
        ...

    async def starts(
        self, category: str, since: datetime, *, skip: int = 0, most_bytes: int | None = None
    ) -> list[tuple[datetime, TaskRecord]]:
        """Return when tasks of a category were claimed since a moment (naive UTC), in order.

        With ``most_bytes`` a page of it; the first ``skip`` are left out, those before.
        """
        ...

    async def backlog(self, category: str) -> int:
        """Return how many tasks of a category are PENDING or RETRY, for whatever reason."""
        ...


class Reads(Protocol):
    """Any task, its history and its log lines, as they are on disk.

    Who asks for many gets them all, however large they are together: that is the caller's
    memory. The storage's own may not depend on it.
    """

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task as it is on disk."""
        ...

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are, as they are on disk."""
        ...

    async def statuses(self, task_ids: Sequence[str]) -> dict[str, TaskStatus]:
        """Return the status on disk of those of the tasks that there are."""
        ...

    async def find(self, query: TaskFilter) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        ...

    async def counts(self) -> Counts:
        """Return exact counts of all tasks."""
        ...

    async def position(self, record: TaskRecord, now: datetime) -> int:
        """Return how many waiting tasks of its category start before this one."""
        ...

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions of a task in order."""
        ...

    async def query(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Run one read-only query that sees everything submitted before."""
        ...

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Return a copy to ask apart, seconds old or ``own``; ``QueryError`` if there is none."""
        ...

    async def backup(self) -> Snapshot:
        """Return a copy of now that whoever asks takes away; ``StorageError`` if there is none."""
        ...

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines of a task, in order of attempt and number."""
        ...


class Schedules(Protocol):
    """The schedules that are stored, and what their tasks say about them."""

    async def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""
        ...

    async def schedule_progress(self) -> dict[str, ScheduleProgress]:
        """Return what the tasks say about each schedule that has any."""
        ...

    async def save_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Make new and changed schedules durable, all or none."""
        ...

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule; its tasks stay."""
        ...


class Rules(Protocol):
    """The rows of ``rules``: limits, pauses, revocations, alerts."""

    async def rules(self) -> list[Rule]:
        """Return all rules, by kind and name."""
        ...

    async def save_rules(self, rules: Sequence[Rule]) -> None:
        """Make new and changed rules durable, all or none."""
        ...

    async def delete_rules(self, keys: Sequence[tuple[RuleKind, str]]) -> None:
        """Delete rules by kind and name; those that there are not are no error."""
        ...


class Storage(Log, Waiting, Reads, Schedules, Rules, Upkeep, Past, Selecting, ActLog, Protocol):
    """What the engine needs: all roles in one object, which one process owns."""
