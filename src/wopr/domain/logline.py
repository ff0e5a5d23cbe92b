"""A line that a task logged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LogLine:
    """One row of ``task_logs``."""

    task_id: str
    attempt: int
    number: int
    """Counts the lines of an attempt from 1."""
    logged_at: datetime
    """Naive, in UTC."""
    level: str
    """As in ``logging``: DEBUG, INFO, WARNING, ERROR, CRITICAL."""
    logger: str
    message: str
