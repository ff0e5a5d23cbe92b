"""A call that was checked and encoded, before it becomes a task."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class OnParentFailure(enum.Enum):
    """What becomes of a task when one that it depends on failed or was cancelled."""

    CANCEL = "cancel"
    FAIL = "fail"
    RUN = "run"
    ONLY = "only"
    """It runs only if one of them failed, and is cancelled where none did."""


class OnConflict(enum.Enum):
    """What to do when a live task has the unique key already."""

    SKIP = "skip"
    RAISE = "raise"
    REPLACE = "replace"


@dataclass(slots=True, kw_only=True)
class NewTask:
    """A validated call, ready to be added; not frozen, because that doubles its cost."""

    name: str
    category: str
    priority: int
    max_retries: int
    args: str
    kwargs: str
    run_at: datetime | None = None  # naive UTC
    unique_key: str | None = None
    on_conflict: OnConflict = OnConflict.SKIP
    options: str | None = None
    depends_on: tuple[str | int, ...] = ()
    """Ids of tasks; a number stands for that task of the same flow, which comes before it."""
    flow_id: str | None = None
    schedule: str | None = None
    scheduled_for: datetime | None = None  # naive UTC
    id: str | None = None
    """Made by who enqueues, so that the call can be repeated; ``None``: it gets one."""
    again: bool = False
    """Whether the call may have been carried out already: then its id is looked up first."""
