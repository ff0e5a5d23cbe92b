"""Run a queue in virtual time, with faults by a seed, and look at every step whether it holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from wopr.domain.checks import check_count, check_label, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.queue.queue import TaskQueue, inside
from wopr.simulation.client import Client
from wopr.simulation.faults import Faults
from wopr.simulation.watch import Promised
from wopr.testing.world import Durations, Simulated, SimulationError, World

__all__ = ["Simulated", "SimulationError", "simulate"]

ClientOf = Callable[[TaskQueue], Coroutine[Any, Any, None]]


def simulate(
    queue: TaskQueue,
    *clients: ClientOf,
    seed: int = 0,
    faults: Faults | None = None,
    workers: int | Mapping[str, int] = 1,
    hours: float = 24.0,
    durations: Durations | None = None,
    promised: Mapping[str, Promised] | None = None,
) -> Simulated:
    """Run clients and tasks of a queue in virtual time, with faults, until all have ended.

    The engine is the real one; its storage is in memory, its event loop jumps over the time in
    which nothing happens. Sync functions and those of process pools run on that loop. Whatever
    goes wrong by chance goes wrong again for the same seed.

    Args:
        queue: its tasks, resources and schedules are those that the code declares. Must be closed;
            neither its file nor its storage is touched.
        *clients: coroutine functions, given the queue; they enqueue, sleep and wait. When the
            process dies, what they wait for raises ``OwnerGoneError``, and they go on.
        seed: of all chance, that of the module ``random`` too.
        faults: how often what goes wrong; ``None`` means :class:`Faults` as it is by default.
        workers: slots, for every category that a task is registered in; or by category.
        hours: of virtual time, in which everything has to come to an end.
        durations: seconds that tasks take by their names, before their function is called; or
            what gives them, from a source of chance.
        promised: limits of categories that never change, to be looked at.

    Raises:
        SimulationError: something that must always hold did not, or not everything ended in time.
        InvalidCallError: the queue is open, or a value can't be what it has to be.
    """
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise InvalidCallError(
            "simulate() has an event loop of its own, so it can't be called on another one. Make "
            "the test a plain def, or `await asyncio.to_thread(simulate, queue, …)`."
        )
    core = inside(queue)
    if not core.access.closed:
        raise InvalidCallError("The queue is open, so it can't be simulated. Shut it down first.")
    seconds = check_seconds(hours, "hours", zero="refuse") * 3600
    world = World(
        queue,
        seed=seed,
        faults=Faults() if faults is None else faults,
        workers=_staff(queue, workers),
        seconds=seconds,
        durations=dict(durations or {}),
        promised=dict(promised or {}),
    )
    with world.stage():
        return world.run([Client(client(queue)) for client in clients])


def _staff(queue: TaskQueue, workers: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(workers, Mapping):
        return {
            check_label(category, "category"): check_count(count, "workers", least=1, most=1_000)
            for category, count in workers.items()
        }
    count = check_count(workers, "workers", least=1, most=1_000)
    categories = {one.category for one in inside(queue).registry.definitions.values()}
    return dict.fromkeys(sorted(categories), count)
