"""What the parts of one engine share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from wopr.domain.clock import Clock
from wopr.domain.task import TaskRecord
from wopr.engine.registry import Registry
from wopr.engine.threads import Threads
from wopr.ports.storage import Storage


@dataclass(slots=True)
class Services:
    """One engine's storage, clock and shared state; used on its event loop only."""

    storage: Storage
    registry: Registry
    clock: Clock
    rng: random.Random
    loop: asyncio.AbstractEventLoop
    ended: Callable[[TaskRecord], None]
    threads: Threads = field(default_factory=Threads)
    live: dict[str, TaskRecord] = field(default_factory=dict)
    waiters: dict[str, list[asyncio.Future[TaskRecord]]] = field(default_factory=dict)


def naive_now(clock: Clock) -> datetime:
    """Return the time as records hold it: UTC, without a zone."""
    return clock.now().replace(tzinfo=None)
