"""One reason why work does not flow, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Severity(str, Enum):
    """How much harm a reason does."""

    STOPPED = "stopped"
    """Nothing runs."""
    HELD = "held"
    """Some tasks do not start until somebody does something."""
    WARNING = "warning"
    """Work flows, and this will be missed if nobody looks."""

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something does not run, and what mends it."""

    kind: str
    """One of a fixed list: see the table in the guide of operations."""
    severity: Severity
    text: str
    command: str | None = None
    """What mends it, or shows more."""
    tasks: int = 0
    """How many tasks it holds."""
    since: datetime | None = None
    """Aware, in UTC."""
    about: Mapping[str, object] = field(default_factory=dict)
    """What it is about, by word: ``category``, ``name``, ``limit``, ``schedule`` and so on."""

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others, for as long as it lasts."""
        named = ("category", "name", "names", "limit", "schedule", "fingerprint", "task")
        return self.kind, *(f"{word}={self.about[word]}" for word in named if word in self.about)

    def __str__(self) -> str:
        return self.text
