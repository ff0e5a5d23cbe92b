"""What the queue's process and a worker process say to each other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, get_args

from wopr.domain.codec import PayloadLimits
from wopr.domain.guarded import type_name
from wopr.executors.elsewhere import Who
from wopr.executors.reference import Reference
from wopr.executors.told import Told


@dataclass(slots=True)
class Order:
    """Run this."""

    reference: Reference
    who: Who
    call: bytes
    """The arguments, packed."""
    soft_timeout: float | None
    is_async: bool
    limits: PayloadLimits
    """Of the result."""
    levels: dict[str, int]
    """Of the loggers that have one of their own, ``""`` is the root."""


@dataclass(slots=True)
class Ready:
    """The worker process waits for its first order."""


@dataclass(slots=True)
class Begun:
    """The order has arrived, and is carried out from here on."""


@dataclass(slots=True)
class Progress:
    """What the function reports."""

    percent: float
    message: str
    data: dict[str, Any] | None


@dataclass(slots=True)
class LogEntry:
    """A log record, as attributes of builtin types."""

    attributes: dict[str, Any]


@dataclass(slots=True)
class Reply:
    """The function has ended."""

    result: str | None
    """What it returned, as JSON text; ``None`` if it raised."""
    error: Told | None
    """What it raised."""
    size: int
    """Bytes of memory that the process occupies."""


Message = Ready | Begun | Progress | LogEntry | Reply
"""What a worker process says."""
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}
ENVELOPE_BYTES = 4 * 1024 * 1024
"""Of a message, beside the result in it: errors and log records are cut to less."""


def longest_message(result_bytes: int) -> int:
    """Return the bytes that a message may have; a letter may take three times more than stored."""
    return 3 * result_bytes + ENVELOPE_BYTES


def written(message: Message) -> bytes:
    """Return a message of a worker process as JSON: nothing that it sends is unpickled."""
    return json.dumps([type(message).__name__, asdict(message)]).encode()


def read(data: bytes) -> Message:
    """Return the message again.

    Raises:
        ValueError: it is none.
    """
    said = json.loads(data)
    try:
        kind, fields = said
        message: Message = _KINDS[kind](**fields)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"no message of a worker process: {type_name(said)}") from error
    if not all(isinstance(fields[name], _TYPES[name]) for name in fields):
        raise ValueError(f"a message of a worker process with odd parts: {kind}")
    return message


_TYPES: dict[str, Any] = {
    "percent": int | float,
    "message": str,
    "data": dict | None,
    "attributes": dict,
    "result": str | None,
    "error": dict | None,
    "size": int,
}
