"""The tasks of a flow as they stand, and what can be told from them alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wopr.domain.newtask import NewTask
from wopr.domain.snapshot import aware, decode_options, parents_of
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord


@dataclass(frozen=True, slots=True)
class Member:
    """One task of a flow, without its payloads."""

    id: str
    name: str
    status: TaskStatus
    attempt: int
    waiting: bool
    completed_at: datetime | None
    depends_on: tuple[str, ...]
    key: str | None
    """What the flow calls it, if it was given a key."""
    listed: bool
    """Whether the flow's result is a list, though it is the only last task."""
    stays: bool
    """Whether it outlives those that it depends on, should they be cancelled."""

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class FlowProgress:
    """How many tasks of a flow there are, and where they stand.

    ``succeeded + failed + cancelled = ended``. Of the others, ``running`` have started and
    ``waiting`` depend on some that have not ended; the rest is in the queue.
    """

    total: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int

    @property
    def percent(self) -> float:
        """How many of a hundred tasks have ended."""
        return 100.0 * self.ended / self.total if self.total else 0.0


def member_of_row(row: Mapping[str, Any]) -> Member:
    """Return the member that a row of ``tasks`` shows."""
    return Member(
        row["id"],
        row["name"],
        TaskStatus(row["status"]),
        row["attempt"],
        bool(row["waiting"]),
        row["completed_at"],
        tuple(json.loads(row["depends_on"])) if row["depends_on"] else (),
        *_role(_options(row["options"])),
    )


def member_of_record(record: TaskRecord) -> Member:
    """Return the member that a record shows."""
    return Member(
        record.id,
        record.name,
        record.status,
        record.attempt,
        record.waiting,
        aware(record.completed_at),
        parents_of(record),
        *_role(_options(record.options)),
    )


def members_of(tasks: Sequence[NewTask], ids: Sequence[str]) -> list[Member]:
    """Return the members of a flow that was just enqueued, in its order."""
    return [
        Member(
            task_id,
            new.name,
            TaskStatus.PENDING,
            0,
            bool(new.depends_on),
            None,
            tuple([ids[one] if isinstance(one, int) else one for one in new.depends_on]),
            *_role(_options(new.options)),
        )
        for new, task_id in zip(tasks, ids, strict=True)
    ]


def _options(text: str | None) -> Mapping[str, Any]:
    return decode_options(text) if text else {}


def _role(options: Mapping[str, Any]) -> tuple[str | None, bool, bool]:
    """Return key, listed and stays from the options of a task."""
    role = options.get("flow", {})
    return role.get("key"), "listed" in role, "on_parent_failure" in options


def progress_of(members: Iterable[Member]) -> FlowProgress:
    """Count the members."""
    counts = dict.fromkeys(TaskStatus, 0)
    waiting = 0
    for one in members:
        counts[one.status] += 1
        waiting += one.waiting
    return FlowProgress(
        total=sum(counts.values()),
        ended=sum(counts[status] for status in TERMINAL),
        succeeded=counts[TaskStatus.SUCCESS],
        failed=counts[TaskStatus.FAILED],
        cancelled=counts[TaskStatus.CANCELLED],
        running=counts[TaskStatus.STARTED],
        waiting=waiting,
    )


def outputs_of(members: Sequence[Member]) -> tuple[list[Member], bool]:
    """Return the last tasks, whose results are the flow's, and whether they are a list."""
    inner = {parent for one in members for parent in one.depends_on}
    last = [one for one in members if one.id not in inner]
    return last, len(last) != 1 or last[0].listed


def cause_of(members: Sequence[Member], outputs: Iterable[str]) -> Member | None:
    """Return the task because of which a flow has no result; ``None`` if there is none.

    That is the one from which the misfortune came down to the first output that has no
    result: the first that failed or was cancelled, not those that followed it.
    """
    by_id = {one.id: one for one in members}
    found = _first_unlucky(by_id, outputs)
    while found is not None and not found.attempt:  # one that ran has itself to blame
        before = _first_unlucky(by_id, found.depends_on)
        if before is None:
            break
        found = before
    return found


def _first_unlucky(by_id: dict[str, Member], ids: Iterable[str]) -> Member | None:
    unlucky = [
        by_id[task_id]
        for task_id in ids
        if task_id in by_id and by_id[task_id].status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
    ]
    return min(unlucky, key=lambda one: str(one.completed_at), default=None)


def first_to_cancel(members: Iterable[Member]) -> list[Member]:
    """Return the live tasks that can be cancelled next without starting another one.

    A task that outlives a cancelled parent (``OnParentFailure.RUN`` or ``FAIL``) goes before
    all above it. The others go with their parents, so they need not be named.
    """
    live = {one.id: one for one in members if not one.ended}
    staying = [one for one in live.values() if one.stays]
    if not staying:
        return [one for one in live.values() if live.keys().isdisjoint(one.depends_on)]
    above: set[str] = set()
    left = [parent for one in staying for parent in one.depends_on]
    while left:
        task_id = left.pop()
        if task_id in live and task_id not in above:
            above.add(task_id)
            left += live[task_id].depends_on
    return [one for one in staying if one.id not in above]
