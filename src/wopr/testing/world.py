"""One simulation: process after process lives on one clock and one disk, until all has ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wopr.access.local import LocalBackend
from wopr.domain.errors import StorageError, WoprError
from wopr.domain.newtask import NewTask
from wopr.domain.snapshot import plain_snapshot
from wopr.domain.spoken import counted
from wopr.domain.status import LIVE
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.executors.context import CurrentTask
from wopr.executors.threads import inline
from wopr.queue.queue import TaskQueue, inside
from wopr.simulation.client import Client
from wopr.simulation.clock import VirtualClock
from wopr.simulation.disk import Disk
from wopr.simulation.faults import Dice, Faults
from wopr.simulation.loop import StandstillError, VirtualLoop
from wopr.simulation.storage import SimulatedStorage
from wopr.simulation.trace import Trace
from wopr.simulation.watch import Promised, Watch
from wopr.testing.isolated import another_time

MOST_TURNS = 5_000_000
"""So many turns of the event loop a simulation makes at most."""
LOOK_SECONDS = 0.25
AGAIN_SECONDS = 0.5
SETTLE_SECONDS = 10.0
"""So long after the last end the engine has let go of everything."""
_LEFT = {
    "Task was destroyed but it is pending!",
    "_GatheringFuture exception was never retrieved",
    "Future exception was never retrieved",
}
"""What asyncio says of calls to a process that died, whose clients go on."""

Durations = Mapping[str, float | Callable[[random.Random], float]]


class SimulationError(AssertionError):
    """Something did not hold in a simulation; the message says what, and how to see it again."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation came to."""

    seed: int
    seconds: float
    """Of virtual time, until everything had ended."""
    lives: int
    """How many processes there were; all but the last one died."""
    starts: int
    """How often a function began."""
    tasks: list[TaskInfo]
    """All tasks, as they stand at the end, in enqueue order."""
    digest: str
    """Of all that happened: the same for the same seed and the same code."""


class _Died(BaseException):
    """The simulated process dies here."""


class World:
    """One simulation of a queue that is closed."""

    def __init__(
        self,
        queue: TaskQueue,
        *,
        seed: int,
        faults: Faults,
        workers: dict[str, int],
        seconds: float,
        durations: Durations,
        promised: Mapping[str, Promised],
    ) -> None:
        self._queue, self._core = queue, inside(queue)
        self._seed, self._faults, self._workers = seed, faults, workers
        self._seconds, self._durations = seconds, durations
        self._clock, self._trace = VirtualClock(), Trace()
        self._dice, self._rng = Dice(faults, seed), random.Random(seed)
        self._watch = Watch(self._clock, self._trace, promised)
        self._synced = self._core.settings.sync == "full"
        self._disk = Disk(self._watch, synced=self._synced)
        self._storage: SimulatedStorage | None = None
        self._accidents: list[str] = []
        self._turns, self._lives = 0, 0
        self._loops: list[VirtualLoop] = []
        self._dying = False
        self._ended = 0.0

    @contextlib.contextmanager
    def stage(self) -> Iterator[None]:
        """Put the queue on virtual time and a storage in memory, for a ``with`` block."""
        core, chance, access = self._core, random.getstate(), self._core.access
        before, core.enabled = core.enabled, True
        middlewares = core.registry.middlewares
        middlewares.append(self._around)
        random.seed(self._seed)
        try:
            with (
                inline(),
                another_time(self._queue, self._clock),
                access.elsewhere(Path("simulated"), self._rng, self._new_storage),
                access.through(self._noted),
            ):
                yield
        finally:
            core.access = access  # it was never open
            random.setstate(chance)
            middlewares.remove(self._around)
            core.enabled = before

    def _new_storage(self) -> SimulatedStorage:
        self._storage = SimulatedStorage(self._disk, self._dice, self._die, synced=self._synced)
        return self._storage

    async def _around(self, task: CurrentTask, go_on: Callable[[], Awaitable[Any]]) -> Any:
        """Be the innermost middleware: note when a function runs, and let it take its time."""
        dying = self._lives
        self._watch.began(task.id, task.attempt, task.category)
        try:
            duration = self._durations.get(task.name, 0.0)
            seconds = duration(self._rng) if callable(duration) else duration
            if seconds:
                await asyncio.sleep(seconds)
            return await go_on()
        finally:
            if self._lives == dying:
                self._watch.ended(task.id, task.attempt)

    # -- the loop of lives --------------------------------------------------------

    def run(self, clients: list[Client]) -> Simulated:
        """Let one process after the other live until everything has ended."""
        try:
            while not self._live(clients):
                pass
            self._look()
        except (StandstillError, _EndedError) as error:
            raise self._failed(str(error)) from error
        finally:
            self._end(clients)
        tasks = sorted(self._disk.records.values(), key=lambda one: one.seq)
        return Simulated(
            seed=self._seed,
            seconds=self._ended,
            lives=self._lives,
            starts=self._watch.starts,
            tasks=[plain_snapshot(one) for one in tasks],
            digest=self._trace.digest,
        )

    def _live(self, clients: list[Client]) -> bool:
        """Let one process live; return whether it ended in order."""
        self._lives += 1
        self._dying = False
        self._core.access = self._core.access.anew()
        loop = VirtualLoop(self._clock, self._step)
        loop.set_exception_handler(self._accident)
        self._loops.append(loop)
        try:
            loop.run_until_complete(self._life(clients, loop))
        except _Died:
            self._watch.died()
            return False
        else:
            return True
        finally:
            self._bury(loop, clients)

    def _end(self, clients: list[Client]) -> None:
        """Let go of the clients, and of the event loops of all processes."""
        last = VirtualLoop(self._clock, lambda: None)

        async def end() -> None:
            for client in clients:
                await client.end()

        last.run_until_complete(end())
        last.bury()
        for loop in (*self._loops, last):
            loop.close()

    def _bury(self, loop: VirtualLoop, clients: list[Client]) -> None:
        for client in clients:
            client.leave()
        if self._storage is not None:
            self._storage.bury()
        self._core.access.die()
        self._lives += 1  # what its functions do on their way out counts no more
        loop.bury()
        self._lives -= 1

    def _step(self) -> None:
        """Look at everything before each turn of the event loop; let go wrong what goes wrong."""
        self._turns += 1
        self._look()
        if self._dying or self._dice.crashes():
            raise _Died
        if self._dice.cuts_power():
            self._die()
            self._disk.cut_off(self._dice.choose)
            raise _Died
        if step := self._dice.clock_step():
            self._trace.add(self._clock.seconds, f"the clock is set by {step:.1f}")
            self._clock.set_by(step)
        if not self._dice.over and self._clock.seconds > self._faults.until:
            self._dice.over = True
            self._clock.set_right()
        if self._turns > MOST_TURNS:
            raise StandstillError(f"It did not end in {counted(MOST_TURNS, 'turn')} of the loop.")

    def _die(self) -> None:
        self._dying = True
        if self._storage is not None:
            self._storage.lose_power()

    def _accident(self, loop: asyncio.AbstractEventLoop, said: dict[str, Any]) -> None:
        error = said.get("exception")
        left = self._lives > 1 and said.get("message") in _LEFT
        if not self._dying and not left:
            self._accidents.append(f"{said.get('message')}: {error!r} {said.get('future')}")

    def _look(self) -> None:
        wrong = [*self._watch.wrong, *self._accidents]
        if wrong:
            raise self._failed(wrong[0])

    def _failed(self, what: str) -> SimulationError:
        last = "\n".join(f"    {line}" for line in self._trace.last)
        return SimulationError(
            f"{what}\nThat was in life {self._lives}, after {self._clock.seconds:.3f} s of virtual "
            f"time. To see it again, with the same code: seed={self._seed}.\n"
            f"The last that happened (seconds, task, move):\n{last}"
        )

    # -- one life -------------------------------------------------------------

    async def _life(self, clients: list[Client], loop: VirtualLoop) -> None:
        await self._open()
        tasks = [loop.create_task(one.run(loop)) for one in clients if not one.over]
        limit = asyncio.timeout_at(self._seconds)
        try:
            async with limit:
                await _all(tasks)
                while await self._is_busy():  # noqa: ASYNC110 - looking costs no time here
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            if limit.expired():
                raise _EndedError(await self._left(tasks)) from None
            raise
        self._dice.over, self._ended = True, self._clock.seconds
        await asyncio.sleep(SETTLE_SECONDS)
        self._look_at_memory()
        await self._queue.shutdown()

    async def _is_busy(self) -> bool:
        """Whether a task has not ended, or is still on its way to the disk."""
        if self._storage is not None:
            with contextlib.suppress(StorageError):  # somebody has shut the queue down
                await self._storage.flush()
        return bool(self._disk.live)

    def _look_at_memory(self) -> None:
        """Look whether the engine still holds on to tasks that have ended."""
        engine = self._core.access.engine
        if engine is None:
            return
        left = {task_id for pool in engine.pools.values() for task_id in pool.running}
        for task_id in sorted(left | engine.shared.live.keys()):
            record = self._disk.records.get(task_id)
            if record is None or record.status not in LIVE:
                self._watch.leaked(task_id)
        self._look()

    async def _open(self) -> None:
        """Open the queue and start its workers; try again where the disk does not let it."""
        for category, count in self._workers.items():
            while True:
                try:
                    await self._queue.start_workers(category, count)
                    break
                except StorageError:
                    await asyncio.sleep(AGAIN_SECONDS)

    def _noted(self, local: LocalBackend) -> LocalBackend:
        """Look at what callers are told: it is on disk."""
        add, add_many, wait, watch = local.add, local.add_many, local.wait, self._watch

        async def one(new: NewTask) -> str:
            task_id = await add(new)
            watch.acknowledged([task_id])
            return task_id

        async def many(tasks: Iterable[NewTask]) -> list[str]:
            ids = await add_many(tasks)
            watch.acknowledged(ids)
            return ids

        async def end(task_id: str, timeout: float | None) -> TaskRecord:
            record = await wait(task_id, timeout)
            watch.told_end(record)
            return record

        local.add, local.add_many, local.wait = one, many, end
        return local

    async def _left(self, tasks: list[asyncio.Task[None]]) -> str:
        self._dice.over = True
        waiting = [one for one in self._disk.records.values() if one.status in LIVE][:5]
        said = []
        for one in waiting:
            try:
                said.append(f"{one.name} {one.id}: {await self._queue.explain(one.id)}")
            except WoprError as error:
                said.append(f"{one.name} {one.id}: {error}")
        alive = sum(not task.done() for task in tasks)
        return (
            f"Not everything ended within {self._seconds / 3600:g} h of virtual time: "
            f"{counted(self._disk.live, 'task')} and {counted(alive, 'client')} are left. "
            + " ".join(said)
        )


class _EndedError(Exception):
    """The time is over and something is left."""


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for all; raise the first error as soon as there is one."""
    if tasks:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
