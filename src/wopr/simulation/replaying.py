"""Run what was, on the engine's own code and a virtual clock, with other workers and limits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from wopr.access.starting import new_engine
from wopr.calls.registry import Registry
from wopr.config.settings import Settings
from wopr.domain.clock import SystemClock
from wopr.domain.codec import PayloadLimits
from wopr.domain.errors import QueryTimeoutError
from wopr.domain.limits import Limit
from wopr.domain.newtask import NewTask
from wopr.domain.retry import DEFAULT
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.status import LIVE
from wopr.domain.transition import Transition
from wopr.engine.engine import Engine
from wopr.engine.foreground import Foreground
from wopr.executors.threads import inline
from wopr.ports.whatif import Run
from wopr.simulation.clock import VirtualClock
from wopr.simulation.disk import Disk, Write
from wopr.simulation.faults import Dice, Faults
from wopr.simulation.loop import VirtualLoop
from wopr.simulation.storage import SimulatedStorage

LOOK_TURNS = 1_000
_AT_ONCE = 1e-3
"""Seconds; what arrives within them arrives together."""


class LiveDisk(Disk):
    """Keeps what has not ended, and no log: nobody asks for the rest."""

    def _apply(self, made: Transition, write: Write) -> None:
        super()._apply(made, write)
        self.log.clear()
        self.by_task.clear()
        if self.records[made.task_id].status not in LIVE:
            del self.records[made.task_id]


class Replay:
    """Runs again, in virtual time.

    Args:
        runs: as they were, by when they were ready.
        workers: by category.
        limits: of categories and of their tasks.
        settings: of the queue.
        most_seconds: of real time that it may take.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        workers: Mapping[str, int],
        limits: Sequence[Limit],
        settings: Settings,
        most_seconds: float,
    ) -> None:
        self._runs, self._workers, self._limits = runs, workers, limits
        self._settings = settings.model_copy(
            update={"window": len(runs) + 10, "memory_limit": "64GB", "retentions": ()}
        )
        self._most_seconds = most_seconds
        self._real = SystemClock()
        self._began, self._turns = self._real.monotonic(), 0
        self._started = [0.0] * len(runs)
        self._left = len(runs)
        self._over: asyncio.Future[None] | None = None
        self._clock = VirtualClock()

    def run(self) -> list[float]:
        """Return when each of the runs would have started.

        Raises:
            QueryTimeoutError: it takes too long.
        """
        loop = VirtualLoop(self._clock, self._step)
        try:
            with inline():
                loop.run_until_complete(self._life(loop))
        finally:
            loop.bury()
            loop.close()
        return self._started

    def _step(self) -> None:
        self._turns += 1
        if self._turns % LOOK_TURNS:
            return
        if self._real.monotonic() - self._began > self._most_seconds:
            raise QueryTimeoutError(
                f"To simulate {len(self._runs):,} starts takes longer than "
                f"{self._most_seconds:g} s (WOPR_TASKS_QUERY_SECONDS); {self._left:,} are left. "
                "Ask about less time: a later since, an earlier until."
            )

    async def _life(self, loop: VirtualLoop) -> None:
        registry = Registry(PayloadLimits())
        for one in {run.name: run for run in self._runs}.values():
            registry.add(
                self._run,
                name=one.name,
                category=one.category,
                priority=one.priority,
                max_retries=0,
                retry=DEFAULT,
                timeout=None,
            )
        storage = SimulatedStorage(LiveDisk(), Dice(Faults.none(), 0), _never)
        rng = random.Random(0)
        engine = new_engine(storage, registry, self._clock, rng, self._settings, Foreground())
        await engine.start()
        if self._limits:
            await engine.rules.save([_rule(limit, self._clock) for limit in self._limits])
        for category, count in self._workers.items():
            engine.pool(category).add_workers([f"{category}-{one}" for one in range(count)])
        self._over = loop.create_future()
        await self._arrive(engine)
        await self._over
        await engine.drain(0)
        await engine.close()

    async def _arrive(self, engine: Engine) -> None:
        """Enqueue each run when it was ready."""
        number = 0
        while number < len(self._runs):
            ready = self._runs[number].ready
            await asyncio.sleep(max(0.0, ready - self._clock.seconds))
            batch: list[NewTask] = []
            while number < len(self._runs) and self._runs[number].ready <= ready + _AT_ONCE:
                batch.append(_task(number, self._runs[number]))
                number += 1
            await engine.add_many(batch)

    async def _run(self, number: int) -> None:
        """Take the time that it took."""
        self._started[number] = self._clock.seconds
        await asyncio.sleep(self._runs[number].seconds)
        self._left -= 1
        if not self._left and self._over is not None:
            self._over.set_result(None)


def _task(number: int, run: Run) -> NewTask:
    return NewTask(
        name=run.name,
        category=run.category,
        priority=run.priority,
        max_retries=0,
        args=f"[{number}]",
        kwargs="{}",
    )


def _rule(limit: Limit, clock: VirtualClock) -> Rule:
    return Rule(RuleKind.LIMIT, limit.name, limit.to_json(), clock.now())


def _never() -> None:
    """Do nothing: no process dies here."""
