"""What becomes of a new task, wherever it is added: its row, or why there is none."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime

from wopr.domain.errors import InvalidCallError, TaskNotFoundError, UniqueKeyConflictError
from wopr.domain.newtask import NewTask
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord


def record_of(new: NewTask, task_id: str, now: datetime) -> TaskRecord:
    """Return the row of a new task that depends on none, as far as is known yet."""
    record = TaskRecord(
        task_id,
        new.name,
        new.category,
        new.priority,
        new.max_retries,
        new.args,
        new.kwargs,
        now,
        new.run_at,
        new.unique_key,
        new.options,
    )
    if new.flow_id is not None:
        record.flow_id = new.flow_id
    if new.schedule is not None:
        record.schedule, record.scheduled_for = new.schedule, new.scheduled_for
    return record


def check_ids(tasks: Iterable[NewTask]) -> list[str]:
    """Return the ids that were given.

    Raises:
        InvalidCallError: one stands there twice.
    """
    ids = [new.id for new in tasks if new.id is not None]
    if len(set(ids)) < len(ids):
        raise InvalidCallError("Two new tasks have the same id, so nothing was enqueued.")
    return ids


def check_parents(parents: Iterable[str], known: Container[str]) -> None:
    """Refuse a task that is to depend on others that nobody knows.

    Raises:
        TaskNotFoundError: there are such.
    """
    if missing := sorted(one for one in parents if one not in known):
        raise TaskNotFoundError(
            f"It is to depend on {counted(len(missing), 'task')} unknown to this queue, so "
            f"nothing was enqueued: {', '.join(missing[:5])}. Were they cleaned up, or are "
            "they of another database?"
        )


def key_is_taken(holder: str, key: str) -> UniqueKeyConflictError:
    """Return the error that a live task has a unique key."""
    return UniqueKeyConflictError(
        f"Task {holder} is live and has the unique key {key!r}. Wait for it, cancel it, or use "
        "on_conflict=OnConflict.SKIP or REPLACE."
    )
