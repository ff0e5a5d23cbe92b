"""Make an engine over a storage, and start it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wopr.calls.registry import Registry
from wopr.calls.snapshots import info_of
from wopr.config.settings import Settings, size_in_bytes
from wopr.domain.clock import Clock
from wopr.domain.errors import OwnerSilentError, QueueClosedError
from wopr.domain.masking import forget_masked, mask
from wopr.domain.steady import Steady
from wopr.domain.tokens import load_library_rules
from wopr.engine.engine import Engine
from wopr.engine.foreground import Foreground
from wopr.executors.choice import Executors
from wopr.running.surroundings import Surroundings

log = logging.getLogger(__name__)


def new_engine(
    storage: Any,
    registry: Registry,
    clock: Clock,
    rng: random.Random,
    settings: Settings,
    foreground: Foreground,
) -> Engine:
    """Return an engine for the event loop that runs; it is not started."""
    storage = _adapted(storage, registry, clock)
    executors = executors_of(settings, clock)
    loop = asyncio.get_running_loop()
    around = Surroundings(
        registry, clock, rng, loop, executors, storage, Steady(clock), mask_of(settings)
    )
    engine = Engine(
        storage,
        around,
        foreground,
        max_crashes=settings.max_crashes,
        window=settings.window,
        memory_bytes=size_in_bytes(settings.memory_limit),
    )
    engine.keeping.rules = tuple(settings.retentions)
    return engine


def executors_of(settings: Settings, clock: Clock) -> Executors:
    """Return what runs functions, as the settings say."""
    return Executors(
        settings.processes,
        settings.process_max_tasks,
        settings.process_memory_bytes,
        clock,
    )


def know_all_secrets() -> None:
    """Have the rules for what is masked, before anything runs whose errors are stored.

    Who only enqueues and asks needs none of them, and they take a tenth of a second to load.
    """
    if (trouble := load_library_rules()) is not None:
        log.warning("The rules of detect-secrets for well-known tokens don't count: %s", trouble)
    forget_masked()


def open_elsewhere(loop: asyncio.AbstractEventLoop | None) -> QueueClosedError:
    """Return the error for a queue that was opened on another event loop than this one."""
    if loop is None or loop.is_closed():
        return QueueClosedError(
            "The event loop that this queue was used on has ended without "
            "`await queue.shutdown()`. Write `async with queue:` around its use; in "
            "this process build a new queue."
        )
    return QueueClosedError(
        "This queue is open on another event loop. Use it from other threads through "
        "`with queue.sync() as sync: sync(queue.add_task, …)`, or build one queue per "
        "event loop."
    )


async def acquired(lock: asyncio.Lock, deadline: float | None, database: Path) -> None:
    """Return once the lock of those who open the queue is held.

    Raises:
        OwnerSilentError: it is not at the deadline, a time of the loop.
    """
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        raise OwnerSilentError(
            f"{database} was still being opened, or its owner asked, at the end of the "
            "time that this call had. Call again, with more time."
        ) from None


def mask_of(settings: Settings) -> Callable[[str], str]:
    """Return what errors go through before they are stored."""
    return mask if settings.mask_errors else str


async def whole_start(engine: Engine) -> None:
    """Start the engine; if the caller gives up meanwhile, end the start and close again.

    The file is opened in a thread, which nobody can call back.
    """
    starting = asyncio.ensure_future(engine.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if not starting.cancelled() and starting.exception() is None:
            await engine.drain(0)  # what it has begun may write nothing any more
            await engine.close()
        raise


def _adapted(storage: Any, registry: Registry, clock: Clock) -> Any:
    """Return the storage itself, or an adapter around one that offers the seed's four calls."""
    if hasattr(type(storage), "submit"):
        return storage
    from wopr.storage.seed.adapter import SeedStorageAdapter

    return SeedStorageAdapter(storage, lambda record: info_of(record, registry), clock)
