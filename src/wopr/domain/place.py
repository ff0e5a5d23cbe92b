"""Where a due task stands among those of its category and priority."""

from __future__ import annotations

from wopr.domain.snapshot import decode_options
from wopr.domain.task import TaskRecord

AT_FRONT = "at_front"
"""The option of a call that starts before all others of its category and priority."""
FIRST = -(2**62)
"""Before all places that there are."""


def is_at_front(record: TaskRecord) -> bool:
    """Whether a task goes before all that were there when it was enqueued."""
    if record.options is None or AT_FRONT not in record.options:
        return False
    try:
        return decode_options(record.options).get(AT_FRONT) is True
    except (ValueError, TypeError):  # e.g. of a newer wopr
        return False


def place(record: TaskRecord) -> int:
    """Return what orders tasks of one priority: as enqueued, those at the front the other way."""
    return -record.seq if is_at_front(record) else record.seq
