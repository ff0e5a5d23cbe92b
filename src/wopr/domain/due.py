"""When a waiting task is due, by a wall clock that may have been set back."""

from __future__ import annotations

from datetime import datetime, timedelta

from wopr.domain.snapshot import decode_options
from wopr.domain.task import TaskRecord

DELAY = "delay"
"""The option of a call whose ``run_at`` is so many seconds after it, and no time of its own."""
EXPIRES = "expires"
"""The option of a call that says until when it may start, in ISO form, as naive UTC."""


def span_since(record: TaskRecord) -> datetime | None:
    """Return since when it waits for a span (retry, snooze, delay); ``None`` for a fixed time.

    By the wall clock of that moment, as all that is stored.
    """
    started = record.started_at
    if started is not None:
        return started + timedelta(seconds=record.elapsed_seconds or 0)
    return record.created_at if _is_delayed(record) else None


def _is_delayed(record: TaskRecord) -> bool:
    if record.options is None:
        return False
    try:
        return DELAY in decode_options(record.options)
    except (ValueError, TypeError):  # e.g. of a newer wopr
        return False


def is_expired(record: TaskRecord, now: datetime) -> bool:
    """Whether a task may not start any more."""
    if record.options is None or EXPIRES not in record.options:
        return False
    try:
        until = decode_options(record.options).get(EXPIRES)
        return until is not None and datetime.fromisoformat(until) < now
    except (ValueError, TypeError):  # e.g. of a newer wopr
        return False


def due_at(record: TaskRecord, now: datetime) -> datetime:
    """Return when a task that has a ``run_at`` is due, at most its span from now.

    A span that began in the future tells that the clock was set back since. How much of it has
    passed is not known then, so it begins anew.
    """
    assert record.run_at is not None, "it waits for a time"
    if record.run_at <= now:
        return record.run_at
    since = span_since(record)
    return record.run_at if since is None or since <= now else record.run_at - (since - now)
