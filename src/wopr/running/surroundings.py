"""What a run needs besides its task."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wopr.calls.registry import Registry
from wopr.domain.clock import Clock
from wopr.domain.masking import mask
from wopr.domain.steady import Steady
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.executors.choice import Executors


class PastTasks(Protocol):
    """What is on disk of other tasks, and of the task that runs."""

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task."""
        ...

    async def get_many(self, task_ids: Sequence[str]) -> dict[str, TaskRecord]:
        """Return those of the tasks that there are."""
        ...

    async def history(self, task_id: str) -> list[Transition]:
        """Return the transitions of a task in order."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all runs of one process have in common."""

    registry: Registry
    clock: Clock
    rng: random.Random
    loop: asyncio.AbstractEventLoop
    executors: Executors
    past: PastTasks
    """What is on disk: results of other tasks, and the task's own history."""
    steady: Steady
    """What spans are measured by."""
    mask: Callable[[str], str] = mask
    """What takes the secrets out of errors and reports before they are stored."""
