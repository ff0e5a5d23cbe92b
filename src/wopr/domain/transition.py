"""One move of one task: the value between deciding and writing."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from wopr.domain.status import Move, TaskStatus
from wopr.domain.task import TaskRecord

_RAW = ("args", "kwargs", "options", "result", "depends_on")  # already JSON text
_TIMES = ("run_at", "created_at", "started_at", "completed_at", "scheduled_for")


class Transition:
    """A row of the log. ``seq`` is given when it is handed to the storage.

    ``data`` holds the columns that change besides those that follow from the
    status itself: see :func:`wopr.domain.fold.apply`.
    """

    __slots__ = (
        "attempt",
        "data",
        "error",
        "from_status",
        "move",
        "occurred_at",
        "reason",
        "seq",
        "task_id",
        "to_status",
        "worker",
    )

    def __init__(
        self,
        task_id: str,
        move: Move,
        from_status: TaskStatus | None,
        to_status: TaskStatus,
        attempt: int,
        occurred_at: datetime,
        worker: str | None = None,
        reason: str | None = None,
        error: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self.seq = 0
        self.task_id = task_id
        self.move = move
        self.from_status = from_status
        self.to_status = to_status
        self.attempt = attempt
        self.occurred_at = occurred_at
        self.worker = worker
        self.reason = reason or move._value_
        self.error = error
        self.data = data


def added(record: TaskRecord) -> Transition:
    """Return the first transition of a new task; its data is the whole row."""
    return Transition(record.id, Move.ADD, None, record.status, 0, record.created_at, data=_ADDED)


_ADDED: dict[str, Any] = {}
_encoded = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(text)


def encode_added(record: TaskRecord) -> str:
    """Return the data of an ``add`` transition as JSON text.

    Built by hand: it is on the path of every enqueue, and the payloads are JSON
    already.
    """
    text = (
        f'{{"name":{_quoted(record.name)},"category":{_quoted(record.category)},'
        f'"priority":{record.priority},"max_retries":{record.max_retries},'
        f'"args":{record.args},"kwargs":{record.kwargs}'
    )
    if record.options is not None:
        text += f',"options":{record.options}'
    if record.unique_key is not None:
        text += f',"unique_key":{json.dumps(record.unique_key)}'
    if record.run_at is not None:
        text += f',"run_at":"{record.run_at.isoformat()}"'
    if record.depends_on is not None:
        waiting = "true" if record.waiting else "false"
        text += f',"depends_on":{record.depends_on},"waiting":{waiting}'
    if record.flow_id is not None:
        text += f',"flow_id":"{record.flow_id}"'
    if record.schedule is not None:
        text += f',"schedule":{json.dumps(record.schedule)}'
        if record.scheduled_for is not None:
            text += f',"scheduled_for":"{record.scheduled_for.isoformat()}"'
    return text + "}"


def _json(value: Any) -> str:
    """Return a changed value as JSON text; what it usually is needs no encoder to be made."""
    if type(value) is str:
        return encode_basestring_ascii(value)
    if type(value) is int:
        return str(value)
    return f'"{value.isoformat()}"' if isinstance(value, datetime) else _encoded(value)


def encode_data(data: dict[str, Any] | None) -> str | None:
    """Return the changed columns as JSON text."""
    if data is None:
        return None
    result: str | None = data.get("result")
    if result is not None and len(data) == 1:
        return '{"result":' + result + "}"
    parts = [f'"{column}":{_json(value)}' for column, value in data.items() if column not in _RAW]
    text = "{" + ",".join(parts) + "}"
    for column in _RAW:
        if data.get(column) is not None:
            text = text[:-1] + ("," if len(text) > 2 else "") + f'"{column}":{data[column]}}}'
    return text


def decode_data(text: str | None) -> dict[str, Any] | None:
    """Return the changed columns of a stored transition as the record holds them."""
    if text is None:
        return None
    data: dict[str, Any] = json.loads(text)
    for column in _RAW:
        if column in data:  # also a null: the result of a function that returns nothing
            data[column] = json.dumps(data[column], separators=(",", ":"))
    for column in _TIMES:
        if data.get(column) is not None:
            data[column] = datetime.fromisoformat(data[column])
    return data
