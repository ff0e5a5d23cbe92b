"""How long an ended task is kept, where it says so itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from wopr.domain.snapshot import decode_options
from wopr.domain.task import TaskRecord

RETAIN = "retain"
"""The option of a call, or of its task, that says how many seconds it is kept after its end."""


def kept_until(record: TaskRecord) -> datetime | None:
    """Return when an ended task is to go; ``None`` if it says nothing about that, or is live."""
    ended, span = record.completed_at, kept_for(record.options)
    try:
        return None if ended is None or span is None else ended + span
    except OverflowError:
        return None


def kept_for(options: str | None) -> timedelta | None:
    """Return how long stored options say that an ended task is kept; ``None`` if they don't."""
    if options is None or RETAIN not in options:
        return None
    try:
        seconds = decode_options(options).get(RETAIN)
        return None if seconds is None else timedelta(seconds=seconds)
    except (ValueError, TypeError, OverflowError):  # e.g. of a newer wopr
        return None
