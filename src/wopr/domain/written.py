"""Stored transitions, read again: what a task was after each of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from wopr.domain.fold import apply
from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, decode_data

TRANSITION_COLUMNS = (
    "seq, task_id, attempt, from_status, to_status, occurred_at, worker, reason, error, data"
)
UNREADABLE = (ValueError, TypeError, AttributeError)
"""What :func:`transition_from_row` raises for a row that can't be read."""


def transition_from_row(row: tuple[Any, ...]) -> Transition:
    """Return the transition of a row of :data:`TRANSITION_COLUMNS`; see :data:`UNREADABLE`."""
    seq, task_id, attempt, before, after, occurred_at, worker, reason, error, data = row
    if not isinstance(occurred_at, datetime):
        raise ValueError(f"occurred_at is {occurred_at!r:.80}, which no datetime can be")
    transition = Transition(
        str(task_id),
        Move.ADD,  # the move is not stored: reason and statuses say it
        TaskStatus(before) if before else None,
        TaskStatus(after),
        attempt,
        occurred_at,
        worker,
        reason,
        error,
        decode_data(data),
    )
    transition.seq = seq
    return transition


def record_from_add(transition: Transition) -> TaskRecord:
    """Return the task as its first transition describes it."""
    data = dict(transition.data or {})
    record = TaskRecord(
        transition.task_id,
        data.pop("name"),
        data.pop("category"),
        data.pop("priority"),
        data.pop("max_retries"),
        data.pop("args"),
        data.pop("kwargs"),
        data.pop("created_at", transition.occurred_at),
    )
    record.seq = transition.seq
    transition.data = data
    apply(record, transition)
    return record


def record_after(history: Iterable[Transition]) -> TaskRecord | None:
    """Return the task as transitions of it, in order, left it; ``None`` if the first is missing.

    Raises:
        ValueError: one of them can't be read; so do the others of :data:`UNREADABLE`.
    """
    record: TaskRecord | None = None
    for transition in history:
        if transition.from_status is None:
            record = record_from_add(transition)
        elif record is not None:
            apply(record, transition)
    return record
