"""Rows of schedules as a call or the code wants them; the stored ones are not touched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from wopr.domain.schedule import CODE_IS_GONE, Schedule, redefined, same_plan

log = logging.getLogger(__name__)


def new_row(new: Schedule, now: datetime) -> Schedule:
    """Return the row of a new schedule, with its first planned time."""
    row = replace(new, created_at=now, updated_at=now)
    if row.next_fire_at is None:  # else its first occurrence was given
        row.plan(now)
    return row


def synced(old: Schedule | None, new: Schedule, now: datetime) -> Schedule | None:
    """Return the row of a declared schedule; ``None`` if it is as declared already."""
    if old is None:
        return new_row(new, now)
    if same_plan(old, new) and old.origin == "code" and old.paused_reason != CODE_IS_GONE:
        return None
    row = replace(old) if same_plan(old, new) else redefined(old, new, now)
    if row.origin != "code":
        log.warning("Schedule %r was added by a call; from now on the code declares it.", row.name)
        row.origin = "code"
    if row.paused_reason == CODE_IS_GONE:
        row.resume(now)
    return row


def changed_copy(row: Schedule, change: Callable[[Schedule], None]) -> Schedule:
    """Return a changed copy: the book shows a change once it is on disk."""
    copy = replace(row)
    change(copy)
    return copy
