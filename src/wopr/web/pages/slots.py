"""What the worker slots do: free, busy, or busy for longer than is usual. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from wopr.domain.spoken import age
from wopr.ports.answers import WorkerInfo

LONG_FACTOR = 3.0
"""A run is long from so many times the p95 of its name on,"""
LONG_LEAST = 1.0
"""but not before so many seconds;"""
LONG_UNKNOWN = 60.0
"""where nothing is known of its name, from so many seconds on."""


class SlotState(StrEnum):
    """What a slot does."""

    FREE = "free"
    BUSY = "busy"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker slot in the map."""

    worker: WorkerInfo
    state: SlotState
    seconds: float | None
    """For so long it has run what it runs."""
    usual: float | None
    """The p95 of runs of that name."""
    text: str


def slots_of(
    workers: Sequence[WorkerInfo], usual: Mapping[str, float], now: datetime
) -> dict[str, tuple[Slot, ...]]:
    """Return the slots of each category.

    Args:
        workers: by category and name.
        usual: how many seconds 95 of 100 runs of a name take.
        now: aware, in UTC.
    """
    found: dict[str, list[Slot]] = {}
    for worker in workers:
        found.setdefault(worker.category, []).append(_slot(worker, usual, now))
    return {category: tuple(slots) for category, slots in found.items()}


def _slot(worker: WorkerInfo, usual: Mapping[str, float], now: datetime) -> Slot:
    if worker.task_id is None:
        return Slot(worker, SlotState.FREE, None, None, f"{worker.name}: free")
    known = usual.get(worker.task_name or "")
    text = f"{worker.name}: {worker.task_name}"
    if worker.since is None:
        return Slot(worker, SlotState.BUSY, None, known, text)
    seconds = max(0.0, (now - worker.since).total_seconds())
    long = LONG_UNKNOWN if known is None else max(LONG_LEAST, LONG_FACTOR * known)
    text += f" for {age(seconds)}"
    if known is not None:
        text += f" (usually at most {age(known)})"
    return Slot(worker, SlotState.LONG if seconds > long else SlotState.BUSY, seconds, known, text)
