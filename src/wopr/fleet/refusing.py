"""Why a new task is refused, by what the tables say."""

from __future__ import annotations

from wopr.domain.errors import BacklogFullError, InvalidCallError
from wopr.domain.limits import Limit
from wopr.domain.newtask import NewTask
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord


def full_backlog(limit: Limit, count: int, number: int) -> BacklogFullError:
    """Return what is said of tasks for which a backlog has no room."""
    most = counted(limit.backlog or 0, "task")
    return BacklogFullError(
        f"The backlog of category {limit.category!r} has {count:,} of at most {most}, so "
        f"{number:,} more {'was' if number == 1 else 'were'} refused; nothing was written. Try "
        f"again later, start more workers, or change it: wopr limits set {limit.category} "
        "--backlog N --on-full wait"
    )


def check_same(record: TaskRecord, new: NewTask) -> None:
    """Refuse a task whose id is that of another call.

    Raises:
        InvalidCallError: it is.
    """
    if (record.name, record.args, record.kwargs) != (new.name, new.args, new.kwargs):
        raise InvalidCallError(
            f"Task {record.id} is a call of {record.name!r} already, and this is another call, of "
            f"{new.name!r}, with the same id: nothing was enqueued. An id is made anew for each "
            "call, and only the very same call is repeated with it."
        )
