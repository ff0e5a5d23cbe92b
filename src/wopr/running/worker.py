"""A worker: one slot of a category."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wopr.running.attempt import Attempt


class Worker:
    """A slot that runs one task at a time."""

    __slots__ = ("attempt", "last_claim_at", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempt: Attempt | None = None
        self.last_claim_at: datetime | None = None  # naive UTC

    def __repr__(self) -> str:
        doing = f"running {self.attempt.record.id}" if self.attempt else "idle"
        return f"<Worker {self.name} {doing}>"
