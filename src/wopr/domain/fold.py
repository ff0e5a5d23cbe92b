"""How a transition changes a task: the same function live, in recovery and in ``doctor``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition

IN_LOG_ONLY = frozenset({"traceback", "roots", "act", "before"})
"""Keys of a transition's data that are history, not columns of the task."""


def apply(record: TaskRecord, transition: Transition) -> None:
    """Change ``record`` by ``transition``.

    What follows from the status itself is set here, so that the hot transitions
    (claim, success) carry next to no data; ``transition.data`` overrides it. Progress
    is not logged while a task runs: how far it came is in the data of what ended it. What was
    reported beside it, which is rare, goes and stays by the data alone.
    """
    status = transition.to_status
    record.status = status
    record.attempt = transition.attempt
    record.version = transition.seq
    if status is TaskStatus.STARTED:
        record.started_at = transition.occurred_at
        record.completed_at = None
        record.worker = transition.worker
        record.waiting = False
        record.progress = 0.0
        record.progress_message = ""
    elif status is TaskStatus.SUCCESS:
        record.completed_at = transition.occurred_at
        if record.started_at is not None:
            record.elapsed_seconds = (transition.occurred_at - record.started_at).total_seconds()
        record.error = None
        record.error_type = None
        record.progress = 100.0
        record.progress_message = ""
    else:
        _apply_rare(record, transition)
    if transition.data:
        for column, value in transition.data.items():
            if column not in IN_LOG_ONLY:
                setattr(record, column, value)


def _apply_rare(record: TaskRecord, transition: Transition) -> None:
    status = transition.to_status
    if transition.from_status is not None:
        record.waiting = False  # unless the data of a renewal says that it waits again
    if transition.from_status is TaskStatus.STARTED or status is TaskStatus.PENDING:
        record.progress = 0.0  # unless the data says how far the attempt came
        record.progress_message = ""
        record.progress_data = None
    started = record.started_at
    if (
        transition.from_status is TaskStatus.STARTED
        and started
        and status is not TaskStatus.PENDING
    ):
        record.elapsed_seconds = (transition.occurred_at - started).total_seconds()
    if status is TaskStatus.PENDING:
        record.started_at = None
        record.worker = None
        if transition.from_status is TaskStatus.FAILED:
            _renew(record)
        elif transition.from_status is TaskStatus.CANCELLED:
            record.completed_at = None
    elif status is TaskStatus.RETRY:
        record.error = transition.error
    else:
        record.completed_at = transition.occurred_at
        if status is TaskStatus.FAILED:
            record.error = transition.error


def _renew(record: TaskRecord) -> None:
    """Forget the failed run: a retry by hand starts with a new budget."""
    record.retry_count = 0
    record.crashes = 0
    record.completed_at = None
    record.elapsed_seconds = None
    record.run_at = None
    record.result = None
    record.error = None
    record.error_type = None


def first_start(history: Iterable[Transition]) -> datetime | None:
    """Return when the first attempt of the current budget of retries started.

    A retry by hand begins a new budget.
    """
    first: datetime | None = None
    for transition in history:
        if transition.to_status is TaskStatus.STARTED and first is None:
            first = transition.occurred_at
        elif transition.from_status is TaskStatus.FAILED:
            first = None
    return first
