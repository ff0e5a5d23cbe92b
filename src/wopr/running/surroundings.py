"""What a run needs besides its task."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from wopr.calls.registry import Registry
from wopr.domain.clock import Clock
from wopr.domain.masking import mask
from wopr.domain.steady import Steady
from wopr.executors.choice import Executors
from wopr.ports.storage import Reads


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all runs of one process have in common."""

    registry: Registry
    clock: Clock
    rng: random.Random
    loop: asyncio.AbstractEventLoop
    executors: Executors
    past: Reads
    """What is on disk: results of other tasks, and the task's own history."""
    steady: Steady
    """What spans are measured by."""
    mask: Callable[[str], str] = mask
    """What takes the secrets out of errors and reports before they are stored."""
