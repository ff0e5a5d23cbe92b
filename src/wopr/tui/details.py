"""All that there is to say about one row, for who presses enter on it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from wopr.domain.errors import WoprError
from wopr.domain.masking import mask, masked
from wopr.domain.spoken import age, local
from wopr.domain.task import TaskInfo
from wopr.domain.terminal import clean
from wopr.queue.queue import TaskQueue
from wopr.tui.view import CategoryRow, FailureRow, Row, TaskRow

LONGEST = 20_000
"""Characters of a value, and of a traceback."""


async def details(queue: TaskQueue, row: Row) -> list[str]:
    """Return lines about a row, safe for a terminal and without secrets.

    Raises:
        WoprError: it can't be asked about now.
    """
    match row:
        case CategoryRow():
            lines = str(await queue.explain(category=row.name)).split("\n")
        case TaskRow():
            lines = await _task(queue, row.id)
        case FailureRow():
            head = f"{row.count:,} times in the last hour, first at {local(row.since)}."
            lines = [head, "The newest:", "", *await _task(queue, row.sample)]
        case _:
            claimed = local(row.last_claim_at) or "never"
            lines = [f"Category {row.category}. It last took a task: {claimed}."]
            lines += [] if row.task_id is None else ["", *await _task(queue, row.task_id)]
    return [clean(mask(line)[:LONGEST]) for line in lines]


async def _task(queue: TaskQueue, task_id: str) -> list[str]:
    info = await queue.require_task_info(task_id)
    try:
        why = str(await queue.explain(task_id))
    except WoprError as error:  # it is archived, or goes this moment
        why = str(error)
    lines = [why, "", *_facts(info)]
    for move in await queue.get_history(task_id):
        reason = f": {move.reason}" if move.reason else ""
        lines.append(f"{local(move.occurred_at)}  {move.to_status.value}{reason}")
        if move.traceback:
            lines += [f"    {line}" for line in mask(move.traceback)[-LONGEST:].split("\n")]
    return lines


def _facts(info: TaskInfo) -> Iterator[str]:
    values = {
        "id": info.id,
        "name": info.name,
        "category": info.category,
        "priority": info.priority.name,
        "status": info.status.value,
        "attempt": info.attempt,
        "progress": f"{info.progress:.0f} % {info.progress_message}" if info.progress else "",
        "ran": age(info.elapsed_seconds) if info.elapsed_seconds else "",
        "args": _json(info.args) if info.args else "",
        "kwargs": _json(info.kwargs) if info.kwargs else "",
        "result": _json(info.result) if info.result is not None else "",
        "error": info.error or "",
    }
    for name, value in values.items():
        if value != "":
            yield f"{name:10}{value}"
    yield ""


def _json(value: object) -> str:
    return json.dumps(masked(value), ensure_ascii=False, default=str)[:LONGEST]
