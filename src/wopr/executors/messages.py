"""What the queue's process and a worker process say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wopr.executors.elsewhere import Who
from wopr.executors.reference import Reference


@dataclass(slots=True)
class Order:
    """Run this."""

    reference: Reference
    who: Who
    call: bytes
    """The arguments, packed."""
    soft_timeout: float | None
    is_async: bool
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


@dataclass(slots=True)
class LogEntry:
    """A log record, as attributes of builtin types."""

    attributes: dict[str, Any]


@dataclass(slots=True)
class Failure:
    """What a function raised."""

    name: str
    """Of the error's type, with its module."""
    text: str
    traceback: str
    error: bytes | None
    """The error itself, packed; ``None`` if that is not possible."""
    obstacle: str
    """Why not."""


@dataclass(slots=True)
class Reply:
    """The function has ended."""

    outcome: bytes | Failure
    """What it returned, packed, or what it raised."""
    size: int
    """Bytes of memory that the process occupies."""
