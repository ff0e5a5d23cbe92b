"""Tasks: lists of them, one with all that is known of it, and what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, with_config
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse
from typing_extensions import TypedDict

from wopr.core.past import Past
from wopr.core.tasks import ends_early
from wopr.domain.logline import LogLine
from wopr.domain.status import TERMINAL
from wopr.domain.task import TaskRecord
from wopr.ports.answers import Explanation, HistoryEntry
from wopr.queue.queue import inside
from wopr.web.api.documents import TaskDocument, TaskRow, document_of, document_of_past, row_of
from wopr.web.api.endpoints import JSON, Asked, Endpoint, Model
from wopr.web.api.fields import At, Cursor, Limit, Status
from wopr.web.api.selecting import AtQuery, Selected, conditions_of, looked_at
from wopr.web.guard.roles import Role

T = TypeVar("T")
LONGEST_WAIT = 60.0
"""Seconds that a request waits for a task at most."""
PART = 64 * 1024
MOST_BYTES = 4 * 1024 * 1024
"""An answer about one task ends with the item that brings it to so many characters."""
MOST_LINES = 10_000
MOST_MOVES = 1_000
"""So many moves of a task are shown."""
ABOUT = "Tasks"
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)


@with_config(_DOCUMENT)
class TaskPage(TypedDict):
    """Tasks, newest first."""

    tasks: list[TaskRow]
    next: str | None
    """The `cursor` of the next page; `null`: there is none."""


@with_config(_DOCUMENT)
class Outcome(TypedDict):
    """What came of a task. While it has not ended, the status says how far it is."""

    id: str
    name: str
    status: Status
    attempt: int
    error: str | None
    error_type: str | None
    result: Any
    """As it is stored; what JSON has no word for is in wopr's own notation."""


@with_config(_DOCUMENT)
class History(TypedDict):
    """The newest moves of a task, oldest first: up to 1,000, and about 4 MiB of them."""

    history: list[HistoryEntry]


class LoggedLine(TypedDict):
    """A line that a task logged."""

    attempt: int
    number: int
    """Counts the lines of an attempt from 1."""
    logged_at: datetime
    level: str
    logger: str
    message: str


class Logs(TypedDict):
    """The first lines that a task logged, as far as they were kept: about 4 MiB of them."""

    logs: list[LoggedLine]


class ListQuery(Selected):
    """Which tasks, and which page of them."""

    limit: Limit = 100
    cursor: Cursor = None
    at: At = None


class WaitQuery(Model):
    """How long to wait."""

    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT)] = 0.0
    """Seconds to wait for its end at most."""


class LogQuery(Model):
    """How many lines."""

    limit: Annotated[int, Field(ge=1, le=MOST_LINES)] = 1_000
    """The first so many lines."""


async def list_tasks(asked: Asked) -> TaskPage:
    """Answer a page of the selected tasks."""
    query: ListQuery = asked.query
    if query.at is not None:
        return await _past_page(asked, query, asked.queue.as_of(query.at))
    found = await (await looked_at(asked, query)).records(query.limit, query.cursor)
    more = found[-1].id if ends_early(found, query.limit) else None
    return {"tasks": [row_of(record) for record in found], "next": more}


async def _past_page(asked: Asked, query: ListQuery, past: Past) -> TaskPage:
    given = await conditions_of(asked, query)
    given |= {"condition": given.pop("where"), "flow_id": given.pop("flow")}
    found = await past.get_tasks(limit=query.limit, cursor=query.cursor, **given)
    more = found[-1].id if len(found) == query.limit else None
    return {"tasks": [row_of(info) for info in found], "next": more}


async def get_task(asked: Asked) -> TaskDocument:
    """Answer one task."""
    if asked.query.at is not None:
        past = asked.queue.as_of(asked.query.at)
        return document_of_past(await past.require_task_info(asked.path["id"]))
    return document_of(await _record(asked))


async def get_result(asked: Asked) -> Response:
    """Answer what came of a task, once it has ended or the time to wait is over."""
    wait: float = asked.query.wait
    record: TaskRecord | None = None
    if wait:
        with contextlib.suppress(TimeoutError):
            record = await inside(asked.queue).ended(asked.path["id"], wait)
    if record is None:
        record = await _record(asked)
    return _outcome(record)


async def get_history(asked: Asked) -> History:
    """Answer every move of a task."""
    entries = await asked.queue.get_history(asked.path["id"])
    if not entries:
        await _record(asked)
    newest = _within(entries[::-1][:MOST_MOVES], _entry_size)
    return {"history": newest[::-1]}


async def get_logs(asked: Asked) -> Logs:
    """Answer what a task logged."""
    lines = await asked.queue.get_logs(asked.path["id"], asked.query.limit)
    if not lines:
        await _record(asked)
    return {"logs": [_line(line) for line in _within(lines, lambda line: len(line.message))]}


async def explain(asked: Asked) -> Explanation:
    """Answer why a task stands where it stands."""
    return await asked.queue.explain(asked.path["id"])


def _within(items: Sequence[T], size_of: Callable[[T], int]) -> list[T]:
    """Return the first items, up to the one that brings them to the size of an answer."""
    found: list[T] = []
    size = 0
    for one in items:
        found.append(one)
        size += size_of(one)
        if size >= MOST_BYTES:
            break
    return found


def _entry_size(entry: HistoryEntry) -> int:
    return len(entry.error or "") + len(entry.traceback or "")


def _line(line: LogLine) -> LoggedLine:
    return {
        "attempt": line.attempt,
        "number": line.number,
        "logged_at": line.logged_at.replace(tzinfo=UTC),
        "level": line.level,
        "logger": line.logger,
        "message": line.message,
    }


async def _record(asked: Asked) -> TaskRecord:
    core, task_id = inside(asked.queue), asked.path["id"]
    found = await core.ask(lambda backend: backend.get(task_id), None)
    if found is None:
        raise core.unknown(task_id)
    return found


def _outcome(record: TaskRecord) -> Response:
    """Return what came of a task; its result as it is stored, in parts if it is large."""
    said = to_json(
        {
            "id": record.id,
            "name": record.name,
            "status": record.status.value,
            "attempt": record.attempt,
            "error": record.error,
            "error_type": record.error_type,
        }
    )
    whole = b'%s,"result":%s}' % (said[:-1], (record.result or "null").encode())
    status = 200 if record.status in TERMINAL else 202
    headers = {"cache-control": "no-store", "content-length": str(len(whole))}
    if len(whole) <= PART:
        return Response(whole, status, headers, JSON)
    return StreamingResponse(_parts(whole), status, headers, JSON)


async def _parts(whole: bytes) -> AsyncIterator[bytes]:
    """Give a large answer part by part, as fast as it is read."""
    for at in range(0, len(whole), PART):
        yield whole[at : at + PART]


def _get(path: str, name: str, summary: str, handler: Any, answers: Any, **more: Any) -> Endpoint:
    given = {"needs": Role.READ, "problems": (404,), **more}
    return Endpoint(
        method="GET",
        path=path,
        name=name,
        about=ABOUT,
        summary=summary,
        handler=handler,
        answers=answers,
        **given,
    )


ENDPOINTS = (
    _get("/tasks", "list_tasks", "List tasks", list_tasks, TaskPage, query=ListQuery),
    _get("/tasks/{id}", "get_task", "Get a task", get_task, TaskDocument, query=AtQuery),
    _get(
        "/tasks/{id}/result",
        "get_result",
        "Get what came of a task, and wait for it",
        get_result,
        Outcome,
        query=WaitQuery,
        statuses=(200, 202),
        needs=Role.OPERATE,
    ),
    _get("/tasks/{id}/history", "get_history", "Get every move of a task", get_history, History),
    _get("/tasks/{id}/logs", "get_logs", "Get what a task logged", get_logs, Logs, query=LogQuery),
    _get("/tasks/{id}/explain", "explain", "Why it stands where it stands", explain, Explanation),
)
