"""What owner and clients say to each other: one JSON object per line.

A request is ``{"id": n, "verb": name, "params": [...]}``; the answer carries the
same id and ``ok`` or ``error``; ``{"cancel": n}`` says that nobody waits for it any more.
An owner that goes says ``{"leaving": …}``, true to the client that gets the file; a client
answers ``{"left": true}`` and sends nothing after that.
Values travel in the tagged plain form of :mod:`wopr.domain.codec`, so that times and ids
arrive as what they were.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import UUID

from pydantic_core import from_json

from wopr.domain import errors
from wopr.domain.codec import decode_plain, encode_plain
from wopr.domain.errors import PayloadTooLargeError, StorageError, WoprError
from wopr.domain.jsontext import TAG, RefusedError, to_text
from wopr.domain.newtask import NewTask, OnConflict
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.ports.answers import Explanation, HistoryEntry
from wopr.ports.storage import TaskFilter
from wopr.remote.place import private_directory
from wopr.remote.size import LARGE

PROTOCOL = 5
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. Who sends or reads it has it in memory several times over."""
REQUEST = (
    "this call would be one of more, so nothing was sent. Tasks of a flow are one commit and so "
    "one message: enqueue the first part, then let the rest depend on its ids; or keep big data "
    "in a file or table and pass its name"
)
ANSWER = "the answer would be one of more: ask for fewer rows or columns, or for a smaller limit"
"""What to do about a message that is too long."""
_LONGEST_SOCKET_PATH = 100  # the kernel's own limit is 104 to 108
_DEEPEST = 200
_TEXT = frozenset({str})
_ATOMS = frozenset({str, int, bool, NoneType})
_FEW = 20


def socket_path(database: Path) -> str:
    """Return where the owner of a file listens: beside it, unless that path is too long."""
    beside = f"{os.path.realpath(database)}.sock"
    if len(os.fsencode(beside)) <= _LONGEST_SOCKET_PATH:
        return beside
    name = hashlib.sha256(os.fsencode(beside)).hexdigest()[:24]
    return os.path.join(private_directory(), f"{name}.sock")


def encode(message: dict[str, Any], what_then: str = REQUEST) -> bytes:
    """Return a message as one line.

    Raises:
        PayloadTooLargeError: it is too long; the error says ``what_then``.
        PayloadError: a value can't travel.
    """
    if _is_flat(message) and (line := _flat_line(message)) is not None:
        return line
    try:
        text = encode_plain(_plain(message), "message", LONGEST_LINE, _DEEPEST)
    except PayloadTooLargeError:
        raise PayloadTooLargeError(
            f"Processes that share a queue send messages of at most {LONGEST_LINE:,} bytes, and "
            f"{what_then}. In the process that owns the file there is no such limit."
        ) from None
    return text.encode() + b"\n"


def _is_flat(value: Any, levels: int = 4) -> bool:
    """Whether a dict or list travels as it is, for JSON has a form for all that is in it."""
    if type(value) is dict:
        if TAG in value or not _TEXT.issuperset(map(type, value)):
            return False
        items: Collection[Any] = value.values()
    elif type(value) is list:
        items = value
    else:
        return False
    if len(items) > _FEW and _ATOMS.issuperset(map(type, items)):
        return True
    for one in items:  # a generator would cost more than all the rest
        if type(one) not in _ATOMS and not (levels > 0 and _is_flat(one, levels - 1)):
            return False
    return True


def _flat_line(message: dict[str, Any]) -> bytes | None:
    """Return a flat message as one line; ``None``: it can't be, and the long way says why."""
    try:
        line = to_text(message) + b"\n"
    except RefusedError:
        return None
    return line if len(line) <= LONGEST_LINE else None


def refusal(number: int | None, failure: BaseException) -> bytes:
    """Return the answer that a request failed."""
    return json.dumps({"id": number, "error": error_of(failure)}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message of one line.

    Raises:
        PayloadError, StorageError or ValueError: it is none.
    """
    tagged = b"$type" in line or b"\\u" in line  # as far as can be seen
    message = decode_plain(line.decode()) if tagged else _read(line)
    if not isinstance(message, dict):
        raise StorageError(f"Not a message of wopr: {line[:80]!r}")
    return message


def _read(line: bytes) -> Any:
    try:
        return from_json(line)
    except ValueError:
        return decode_plain(line.decode())  # which says what is wrong


async def decoded(line: bytes) -> dict[str, Any]:
    """Return the message of one line; a large one is read in a thread. Errors as :func:`decode`."""
    return decode(line) if len(line) <= LARGE else await asyncio.to_thread(decode, line)


def _plain(value: Any) -> Any:
    """Turn what a query may answer beyond the codec's types into text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, TaskStatus | OnConflict):
        return value.value
    return value if value is None or isinstance(value, _CARRIED) else str(value)


_CARRIED = (str, int, float, bytes, UUID, Decimal, datetime, date, time, timedelta)


def error_of(failure: BaseException) -> dict[str, str]:
    """Return an error as it travels."""
    return {"type": type(failure).__name__, "message": str(failure)}


def raise_error(error: dict[str, str]) -> None:
    """Raise what the owner raised; only wopr's own errors and TimeoutError keep their type."""
    kind: Any = getattr(errors, error["type"], None)
    if isinstance(kind, type) and issubclass(kind, WoprError):
        failure = kind.__new__(kind)
        Exception.__init__(failure, error["message"])
        raise failure
    if error["type"] == "TimeoutError":
        raise TimeoutError(error["message"])
    raise StorageError(f"The owner of the queue failed: {error['type']}: {error['message']}")


_NEW_TASK = tuple(item.name for item in fields(NewTask) if item.name != "again")
_NEW_TASK_VALUES = attrgetter(*_NEW_TASK)
_PRIORITIES = {int(one): int(one) for one in TaskPriority}
_CONFLICTS = {one.value: one for one in OnConflict}
"""To look a member up by its value takes an enumeration much longer."""


def new_task_to_plain(new: NewTask) -> dict[str, Any]:
    """Return a new task as it travels."""
    plain = dict(zip(_NEW_TASK, _NEW_TASK_VALUES(new), strict=True))
    plain["on_conflict"] = new.on_conflict.value
    plain["depends_on"] = list(new.depends_on)
    return plain


def new_task_from_plain(plain: dict[str, Any]) -> NewTask:
    """Return a new task that a client sent."""
    new = NewTask(**plain)
    new.priority = _PRIORITIES.get(new.priority) or int(TaskPriority(new.priority))
    conflict: Any = new.on_conflict
    new.on_conflict = _CONFLICTS.get(conflict) or OnConflict(conflict)
    new.depends_on = tuple(new.depends_on)
    return new


def filter_to_plain(query: TaskFilter) -> dict[str, Any]:
    """Return a filter as it travels."""
    plain = asdict(query)
    del plain["most_bytes"]  # the owner's own
    return plain


def filter_from_plain(plain: dict[str, Any]) -> TaskFilter:
    """Return a filter that a client sent."""
    status = plain["status"]
    return TaskFilter(**{**plain, "status": TaskStatus(status) if status else None})


def entry_from_plain(plain: dict[str, Any]) -> HistoryEntry:
    """Return a history entry that the owner sent."""
    before = plain["from_status"]
    return HistoryEntry(
        **{
            **plain,
            "from_status": TaskStatus(before) if before else None,
            "to_status": TaskStatus(plain["to_status"]),
        }
    )


def explanation_from_plain(plain: dict[str, Any]) -> Explanation:
    """Return an explanation that the owner sent."""
    return Explanation(**{**plain, "status": TaskStatus(plain["status"])})
