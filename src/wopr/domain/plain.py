"""Recognise tasks with the plainest history: added, and claimed and done if they have ended. Pure.

Most tasks are such. That their row and their history belong together is seen from the texts as they
are written, without folding the history: examining millions of them takes a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from wopr.domain.task import TaskRecord
from wopr.domain.transition import encode_added

Row = tuple[Any, ...]

LONGEST = 3
"""So many transitions a plain history has at most."""


def is_plain(row: Row, log: Sequence[Row]) -> bool:
    """Whether a task's row is what its history, a plain one, says of it.

    Args:
        row: in the order of the columns of tasks; it can be read.
        log: rows of its transitions, in order; they may be others than plain ones.
    """
    if len(log) not in (1, LONGEST) or not all(type(one[5]) is datetime for one in log):
        return False
    task = TaskRecord.from_row(row)
    first, last = log[0], log[-1]
    return (
        task.depends_on is None
        and (task.schedule is not None or task.scheduled_for is None)
        and first[2:5] == (0, None, "pending")
        and first[5:] == (task.created_at, None, "add", None, encode_added(task))
        and (task.seq, task.version, task.waiting) == (first[0], last[0], False)
        and (task.retry_count, task.crashes, task.error, task.error_type) == (0, 0, None, None)
        and (task.progress_message, task.progress_data) == ("", None)
        and (_waits(task) if len(log) == 1 else _is_done(task, log))
    )


def _waits(task: TaskRecord) -> bool:
    run = (task.started_at, task.completed_at, task.elapsed_seconds, task.worker, task.result)
    state = (task.status, task.attempt, task.progress)
    return state == ("pending", 0, 0.0) and all(one is None for one in run)


def _is_done(task: TaskRecord, log: Sequence[Row]) -> bool:
    claimed, ended = log[1], log[2]
    if task.started_at is None or task.completed_at is None:
        return False
    told = None if task.result is None else '{"result":' + task.result + "}"
    return (
        claimed[2:5] == (1, "pending", "started")
        and claimed[5:] == (task.started_at, task.worker, "claim", None, None)
        and ended[2:5] == (1, "started", "success")
        and (ended[5], *ended[7:]) == (task.completed_at, "succeed", None, told)
        and (task.status, task.attempt, task.progress) == ("success", 1, 100.0)
        and task.elapsed_seconds == (task.completed_at - task.started_at).total_seconds()
    )
