"""What a key does to the row it is pressed on: which tasks it is about, in which words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wopr.domain.act import Preview
from wopr.domain.controls import Pause
from wopr.domain.spoken import counted, local
from wopr.domain.status import LIVE, TaskStatus
from wopr.domain.terminal import clean
from wopr.ports.answers import WorkerInfo
from wopr.tui.view import CategoryRow, FailureRow, Row, TaskRow

EXAMPLES = 5
"""So many tasks a preview names."""
COUNTS = 8
"""So many names and statuses a preview counts; the rest together."""


class Key(StrEnum):
    """What can be done to tasks: the methods of a selection."""

    CANCEL = "cancel"
    RETRY = "retry"


DONE = {Key.CANCEL: "cancelled", Key.RETRY: "retried"}


@dataclass(frozen=True, slots=True)
class Deed:
    """A verb over tasks, as a key asks for it."""

    key: Key
    what: str
    """What it is about, in words."""
    selection: dict[str, Any]
    """For ``queue.tasks.where``."""


def deed(key: Key, row: Row) -> Deed | None:
    """Return what a key means on a row; ``None``: nothing."""
    statuses = sorted(LIVE) if key is Key.CANCEL else [TaskStatus.FAILED]
    match row:
        case CategoryRow():
            found = {"category": row.name, "status": statuses}
            return Deed(key, f"tasks of category {row.name!r}", found)
        case FailureRow():
            found = {"name": row.name, "error": row.fingerprint, "status": statuses}
            return Deed(key, f"tasks {row.name!r} that failed like this", found)
        case TaskRow():
            return Deed(key, f"task {row.id} ({row.name})", {"ids": [row.id]})
        case WorkerInfo(task_id=str()):
            return Deed(key, f"task {row.task_id} ({row.task_name})", {"ids": [row.task_id]})
    return None


def to_pause(row: Row) -> dict[str, str]:
    """Return the category, or the name, that a pause on a row is about."""
    match row:
        case CategoryRow():
            return {"category": row.name}
        case TaskRow() | FailureRow():
            return {"task": row.name}
    return {"category": row.category}


def is_paused(target: dict[str, str], pauses: Sequence[Pause]) -> bool:
    """Whether that category, or that name, is paused."""
    return any(
        target == ({"category": one.category} if one.task is None else {"task": one.task})
        for one in pauses
    )


def previewed(found: Preview, key: Key) -> list[str]:
    """Return what a preview says, line by line."""
    lines = [
        f"{found.changes:,} of {counted(found.selected, 'selected task')} would be {DONE[key]}."
    ]
    lines += [f"  {one.id}: {one.why}" for one in found.unchanged[:EXAMPLES]]
    for one in found.counts[:COUNTS]:
        lines.append(f"  {one.name}, {one.status.value}: {one.changes:,} of {one.count:,}")
    if len(found.counts) > COUNTS:
        lines.append(f"  … and {len(found.counts) - COUNTS:,} more names and statuses")
    if found.examples:
        lines.append("For example:")
    for info in found.examples[:EXAMPLES]:
        lines.append(f"  {info.id} {info.name}, enqueued {local(info.created_at)}")
    return [clean(line) for line in lines]
