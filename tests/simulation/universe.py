"""A queue and clients that do with it whatever can be done with it, by a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from tenacity import wait_fixed

from wopr import (
    ActError,
    BacklogFullError,
    Flow,
    OnConflict,
    OnParentFailure,
    RetryAfter,
    Snooze,
    StorageError,
    Task,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskPriority,
    TaskQueue,
    UniqueKeyConflictError,
    WoprError,
    current_task,
)
from wopr.config.settings import Settings
from wopr.testing import Faults, Promised, Simulated, simulate

Plan = list[tuple[str, float]]
"""What each attempt does, and after how many seconds; the last one also does so later."""

WORKERS = {"plain": 2, "narrow": 3, "rated": 2, "keyed": 3, "bulk": 1, "lending": 2, "quiet": 1}
PROMISED = {
    "plain": Promised(),
    "bulk": Promised(),
    "narrow": Promised(concurrency=2),
    "rated": Promised(rate=3, per=10.0),
}
EXPECTED = (
    ActError,
    TimeoutError,
    StorageError,
    BacklogFullError,
    TaskNotFoundError,
    TaskCancelledError,
    TaskFailedError,
    UniqueKeyConflictError,
)
"""What a call may raise while everything around it fails."""
ENDS = ["ok"] * 6 + ["fail", "hang", "cancel"]
AGAIN = ["fail", "snooze", "after"]
SECONDS = [0, 0, 0.01, 1, 5]


def faults_of(seed: int, power_cut: float = 0.0) -> Faults:
    """Return what goes wrong under a seed: each kind in some, all of them in others."""
    rng = random.Random(seed)
    return Faults(
        crash=rng.choice([0, 0.001, 0.004]),
        commit_fails=rng.choice([0, 0.02, 0.15]),
        slow_commit=rng.choice([0, 0.1, 0.4]),
        slowest_commit=rng.choice([0.05, 1.0, 5.0]),
        read_fails=rng.choice([0, 0, 0.03]),
        clock_set=rng.choice([0, 0, 0.001]),
        until=120.0,
        power_cut=power_cut,
    )


@dataclass
class Universe:
    """A queue with tasks of every kind; all seeds can use one."""

    queue: TaskQueue
    tasks: dict[str, Task[..., Any]] = field(default_factory=dict)


def new_universe(sync: Literal["full", "process"] = "full") -> Universe:
    """Return a queue with tasks of every kind."""
    settings = Settings(
        window=10, max_crashes=3, mask_errors=False, shutdown_seconds=1.0, sync=sync
    )
    queue = TaskQueue(enabled=True, database="simulated.duckdb", settings=settings)
    universe = Universe(queue)
    for category in WORKERS:
        limits: dict[str, Any] = {}
        if category in PROMISED:
            said = PROMISED[category]
            limits["limit"] = said.concurrency
            limits["rate"] = None if said.rate is None else (said.rate, said.per)
        if category == "keyed":
            limits = {"limit": 1, "key": "user"}
        given = {key: it for key, it in limits.items() if it is not None}
        universe.tasks[category] = _define(queue, category, given)

    queue.category("lending", lend_slots=True)
    queue.category("quiet", background=True)

    @queue.task(name="join", category="lending", timeout=60, max_retries=1)
    async def join(plan: Plan, user: int = 0) -> int:
        child = await queue.enqueue("lending", (plan, user), max_retries=1)
        return int(await child.result(timeout=50))

    @queue.task(name="sync", category="plain", max_retries=1)
    def plain_function(plan: Plan, user: int = 0) -> int:
        what, _ = plan[min(current_task().attempt, len(plan)) - 1]
        if what == "fail":
            raise OSError("this attempt fails")
        return user

    @queue.schedule(every=20, name="often", category="plain")
    async def often() -> None:
        await asyncio.sleep(3)

    return universe


def _define(queue: TaskQueue, category: str, limits: dict[str, Any]) -> Task[..., Any]:
    @queue.task(name=category, category=category, retry=wait_fixed(2), timeout=8, **limits)
    async def work(plan: Plan, user: int = 0) -> int:
        what, seconds = plan[min(current_task().attempt, len(plan)) - 1]
        await asyncio.sleep(seconds)
        if what == "hang":
            await asyncio.sleep(3_600)
        elif what == "fail":
            raise OSError("this attempt fails")
        elif what == "snooze":
            raise Snooze(3)
        elif what == "after":
            raise RetryAfter(4)
        elif what == "cancel":
            raise asyncio.CancelledError
        return user

    return work


class Person:
    """Does one thing after the other with a queue, and goes on whatever comes of it."""

    def __init__(self, universe: Universe, seed: int, steps: int) -> None:
        self.queue, self.tasks = universe.queue, universe.tasks
        self.rng = random.Random(seed)
        self.steps = steps
        self.known: list[str] = []

    async def live(self) -> None:
        """Do so many things."""
        deeds = self._deeds()
        for _ in range(self.steps):
            await asyncio.sleep(self.rng.choice([0, 0, 0.01, 0.5, 3]))
            [deed] = self.rng.choices(list(deeds), list(deeds.values()))
            await self._try(deed)
        await self._tidy()

    async def _try(self, deed: Callable[[], Awaitable[object]]) -> bool:
        patience = self.rng.choice([None, None, None, 0, 0.0004, 0.3, 5])
        try:
            async with asyncio.timeout(patience):
                await deed()
        except EXPECTED:
            return False
        except WoprError as error:
            if "shut down" in str(error) or "shutting down" in str(error):
                return False
            raise
        return True

    async def _tidy(self) -> None:
        """Let nothing wait for ever that only this person holds back."""
        for category in WORKERS:
            while True:
                try:
                    await self.queue.resume(category)
                    await self.queue.start_workers(category, 1)
                    break
                except (WoprError, TimeoutError):
                    await asyncio.sleep(0.3)

    def _deeds(self) -> dict[Callable[[], Coroutine[Any, Any, object]], int]:
        return {
            self._enqueue: 40,
            self._enqueue_many: 6,
            self._flow: 5,
            self._cancel: 8,
            self._retry: 6,
            self._wait: 12,
            self._look: 6,
            self._pause: 3,
            self._resume: 5,
            self._act: 6,
            self._restart: 2,
            self._foreground: 2,
            self._limit: 3,
            self._revoke: 2,
            self._undo: 3,
            self._upkeep: 3,
            self._schedule: 3,
        }

    # -- deeds ------------------------------------------------------------------

    def _plan(self) -> Plan:
        rng = self.rng
        first = [(rng.choice(ENDS + AGAIN), rng.choice(SECONDS)) for _ in range(rng.randint(0, 2))]
        return [*first, (rng.choice(ENDS), rng.choice(SECONDS))]

    def _one(self) -> str | None:
        return self.rng.choice(self.known) if self.known else None

    async def _enqueue(self) -> None:
        rng = self.rng
        options: dict[str, Any] = {"max_retries": rng.randint(0, 2)}
        if rng.random() < 0.3:
            options["priority"] = rng.choice(list(TaskPriority))
        if rng.random() < 0.2:
            options["delay"] = rng.choice([0.5, 4, 20])
        elif rng.random() < 0.1:
            options["expires"] = rng.choice([1, 30])
        if rng.random() < 0.25:
            options["unique_key"] = f"key {rng.randint(1, 3)}"
            options["on_conflict"] = rng.choice(list(OnConflict))
        if rng.random() < 0.2 and self.known:
            options["depends_on"] = rng.sample(self.known, min(len(self.known), rng.randint(1, 2)))
            options["on_parent_failure"] = rng.choice(list(OnParentFailure))
        if rng.random() < 0.1:
            options["at_front"] = True
        if rng.random() < 0.1:
            follow = self.tasks[rng.choice(list(WORKERS))]
            options["on_success"] = follow.si(self._plan(), 1)
            options["on_failure"] = follow.si(self._plan(), 2)
        name = rng.choice([*WORKERS, "sync", "join"])
        args = (self._plan(), rng.randint(1, 3))
        self.known.append((await self.queue.enqueue(name, args, **options)).id)

    async def _enqueue_many(self) -> None:
        calls = [(self._plan(), number) for number in range(self.rng.randint(2, 30))]
        name = self.rng.choice(["bulk", "plain", "narrow"])
        self.known += await self.queue.enqueue_ids(name, calls, {})

    async def _flow(self) -> None:
        flow = Flow()
        steps: list[Any] = []
        for number in range(self.rng.randint(2, 5)):
            after = self.rng.sample(steps, min(len(steps), self.rng.randint(0, 2)))
            call = self.tasks[self.rng.choice(list(WORKERS))].si(self._plan(), number)
            steps.append(flow.add(call, after=after))
        await self.queue.enqueue_flow(flow)

    async def _cancel(self) -> None:
        if (one := self._one()) is not None:
            await self.queue.cancel_task(one)

    async def _retry(self) -> None:
        if (one := self._one()) is not None:
            await self.queue.retry_task(one)

    async def _wait(self) -> None:
        if (one := self._one()) is not None:
            await self.queue.wait(one, timeout=self.rng.choice([0.1, 10]))

    async def _look(self) -> None:
        if (one := self._one()) is not None:
            await self.queue.explain(one)
            await self.queue.get_history(one)
        await self.queue.get_task_stats()

    async def _pause(self) -> None:
        await self.queue.pause(self.rng.choice(list(WORKERS)))

    async def _resume(self) -> None:
        await self.queue.resume(self.rng.choice(list(WORKERS)))

    async def _act(self) -> None:
        chosen = self.queue.tasks.where(category=self.rng.choice(list(WORKERS)))
        if (what := self.rng.randrange(5)) == 0:
            await chosen.cancel()
        elif what == 1:
            await chosen.retry()
        elif what == 2:
            await chosen.set_priority(self.rng.choice(list(TaskPriority)))
        elif what == 3:
            await chosen.delay(self.rng.choice([0, 2]))
        else:
            await chosen.run_again()

    async def _limit(self) -> None:
        rng = self.rng
        if rng.random() < 0.4:
            await self.queue.remove_limit("keyed")
        elif rng.random() < 0.5:
            await self.queue.set_limit("keyed", fair_by="user", aging=rng.choice([None, 5]))
        else:
            await self.queue.set_limit("keyed", concurrency=rng.choice([1, 2]), backlog=20)

    async def _revoke(self) -> None:
        where = {"user": self.rng.randint(1, 3)}
        if self.rng.random() < 0.5:
            standing = self.rng.random() < 0.5
            await self.queue.revoke(task="keyed", where=where, standing=standing)
        else:
            await self.queue.unrevoke("keyed", where)

    async def _undo(self) -> None:
        if acts := await self.queue.acts(limit=3):
            await self.queue.undo(self.rng.choice(acts).number)

    async def _upkeep(self) -> None:
        await self.queue.cleanup_old_tasks(days=1)
        await self.queue.recover_tasks()

    async def _schedule(self) -> None:
        if (what := self.rng.randrange(3)) == 0:
            await self.queue.schedules.pause("often")
        elif what == 1:
            await self.queue.schedules.resume("often")
        else:
            self.known.append((await self.queue.schedules.run_now("often")).id)

    async def _foreground(self) -> None:
        async with self.queue.foreground():
            await asyncio.sleep(self.rng.choice([0.1, 4]))

    async def _restart(self) -> None:
        await self.queue.shutdown(timeout=self.rng.choice([0, 0.5]))
        for category, count in WORKERS.items():
            await self.queue.start_workers(category, count)


async def _caretaker(universe: Universe, seed: int, after: float) -> None:
    """Let go what is held back, once nothing goes wrong any more."""
    await asyncio.sleep(after)
    await Person(universe, seed, 0).live()


def run(universe: Universe, seed: int, faults: Faults | None = None) -> Simulated:
    """Run the universe of a seed, with the faults of that seed unless others are given."""
    people = random.Random(seed).randint(1, 3)
    clients = [
        lambda _, number=number: Person(universe, seed * 10 + number, 12).live()
        for number in range(people)
    ]
    faults = faults or faults_of(seed)
    if faults.power_cut:  # which may take along what somebody did last, and nobody does again
        clients.append(lambda _: _caretaker(universe, seed, faults.until + 10))
    promised = dict(PROMISED)
    if faults.clock_set:  # what was claimed before a restart is known by the wall clock only
        del promised["rated"]
    return simulate(
        universe.queue,
        *clients,
        seed=seed,
        faults=faults,
        workers=WORKERS,
        hours=0.5,
        promised=promised,
    )
