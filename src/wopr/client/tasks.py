"""Tasks: enqueued, listed, looked at, waited for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from wopr.client.answers import Function, LoggedLine, Outcome, TaskDocument, TaskPage
from wopr.client.calling import call, calls
from wopr.client.inputs import Arguments, CallOptions, Selection, When
from wopr.client.requests import Asked, Given, Steps
from wopr.domain.errors import TaskCancelledError, TaskFailedError
from wopr.domain.jsontext import untag
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.ports.answers import Explanation, HistoryEntry, attempts

WAIT_SECONDS = 25.0
"""One request waits so long for the end of a task; then comes the next one."""


@call("POST", "/tasks", str, key="id")
def enqueue(
    name: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    unchecked: bool = False,
    **options: Unpack[CallOptions],
) -> Given:
    """Enqueue a task by name, and return its id; it is on disk then.

    An enqueue whose answer is lost is not repeated: with a ``unique_key`` you may do so.

    Args:
        name: of a task that is registered in the process that serves the API.
        args: its positional arguments.
        kwargs: its keyword arguments.
        unchecked: whether the name may be one that only workers elsewhere know; ``category``
            says then where it waits.
        options: what this call sets differently from its task.

    Raises:
        InvalidCallError: there is no such function, or the arguments do not fit it.
        UniqueKeyConflictError: a live task has this ``unique_key``, and the call asked to raise.
        BacklogFullError: as many tasks wait as may.
    """
    said = {"unchecked": True} if unchecked else {}
    body = {"name": name, "args": list(args), "kwargs": dict(kwargs or {}), **said}
    return Given(body={**body, "options": options} if options else body)


@call("POST", "/tasks/batch", list[str], key="ids")
def enqueue_many(name: str, calls: Sequence[Arguments], **options: Unpack[CallOptions]) -> Given:
    """Enqueue up to 10,000 tasks of one name, all or none; return their ids, in order."""
    return Given(body={"name": name, "calls": list(calls), "options": options})


@call("GET", "/functions", list[Function], key="functions")
def list_functions() -> Given:
    """Return what can be enqueued there."""
    return Given()


@call("GET", "/functions/{name}/schema", dict[str, Any])
def get_schema(name: str) -> Given:
    """Return the JSON schema of a function's arguments."""
    return Given(path={"name": name})


@call("GET", "/tasks", TaskPage)
def list_tasks(
    *,
    limit: int = 100,
    cursor: str | None = None,
    at: When | None = None,
    **which: Unpack[Selection],
) -> Given:
    """Return a page of the selected tasks, newest first.

    Args:
        limit: at most so many, up to 500.
        cursor: ``next`` of the page before.
        at: as of this moment; without it, now.
        which: the selection; without it, all tasks.
    """
    return Given(query={**which, "limit": limit, "cursor": cursor, "at": at})


@call("GET", "/tasks/{id}", TaskDocument)
def get_task(id: str, *, at: When | None = None) -> Given:
    """Return all that is known of a task, now or at a moment.

    Raises:
        TaskNotFoundError: there is none with this id.
    """
    return Given(path={"id": id}, query={"at": at})


@call("GET", "/tasks/{id}/result", Outcome)
def get_result(id: str, *, wait: float = 0.0) -> Given:
    """Return what came of a task, after ``wait`` seconds at most (up to 60).

    Raises:
        TaskNotFoundError: there is none with this id.
    """
    return Given(path={"id": id}, query={"wait": wait}, more_seconds=wait)


@calls
def result(id: str, timeout: float | None = None) -> Steps[Any]:
    """Wait until a task has ended, and return its result.

    Args:
        id: of the task.
        timeout: seconds to wait at most; ``None`` waits for ever.

    Raises:
        TaskFailedError: it ended FAILED.
        TaskCancelledError: it ended CANCELLED.
        TimeoutError: it did not end in time. It goes on.
        TaskNotFoundError: there is none with this id.
    """
    row = get_result.row
    assert row is not None, "it is a call of the API"
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = WAIT_SECONDS if until is None else max(0.0, until - time.monotonic())
        wait = min(left, WAIT_SECONDS)
        given = Given(path={"id": id}, query={"wait": wait}, more_seconds=wait)
        found: Outcome = yield Asked(row, given)
        if found.status in TERMINAL:
            return _value(found)
        if until is not None and time.monotonic() >= until:
            raise TimeoutError(f"Task {id} did not end within {timeout:g} s. It goes on.")


def _value(found: Outcome) -> Any:
    if found.status is TaskStatus.FAILED:
        raise TaskFailedError(
            f"Task {found.id} ({found.name}) failed after {attempts(found.attempt)}: {found.error}"
        )
    if found.status is TaskStatus.CANCELLED:
        raise TaskCancelledError(
            f"Task {found.id} ({found.name}) was cancelled, so it has no result."
        )
    return untag(found.result)


@call("GET", "/tasks/{id}/history", list[HistoryEntry], key="history")
def get_history(id: str) -> Given:
    """Return the newest 1,000 moves of a task, oldest first."""
    return Given(path={"id": id})


@call("GET", "/tasks/{id}/logs", list[LoggedLine], key="logs")
def get_logs(id: str, *, limit: int = 1_000) -> Given:
    """Return the first lines that a task logged."""
    return Given(path={"id": id}, query={"limit": limit})


@call("GET", "/tasks/{id}/explain", Explanation)
def explain(id: str) -> Given:
    """Return why a task stands where it stands."""
    return Given(path={"id": id})
