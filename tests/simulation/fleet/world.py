"""Several simulated hosts and their server, on one virtual clock, all in one thread.

Each host has an event loop of its own, of which one turn is made at a time: chance says whose. So
a host can die between two turns, and sleep through its lease while the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from simulation.fleet.judge import Judge
from simulation.fleet.server import CALM, Driver, Server, Weather
from wopr import TaskQueue
from wopr.executors.context import CurrentTask
from wopr.executors.threads import inline
from wopr.fleet.owner import LEASE_SECONDS
from wopr.queue.queue import inside
from wopr.simulation.clock import VirtualClock
from wopr.simulation.loop import StandstillError, VirtualLoop
from wopr.storage.postgres import connections
from wopr.testing.isolated import another_time

MOST_TURNS = 400_000
LIMIT_SECONDS = 1_200.0
"""So long after the last fault everything has ended."""


@dataclass(frozen=True)
class Storm:
    """What goes wrong besides the weather: chances, at each turn of a host's loop."""

    weather: Weather = CALM
    kill: float = 0.0
    freeze: float = 0.0
    leave: float = 0.0
    """A host says goodbye, and another one comes."""
    restart: float = 0.0
    """Of the server."""
    skew: float = 0.0
    """Seconds that the clock of a host is off, at most."""
    until: float = 60.0
    """Virtual seconds; then all goes well."""


class HostLoop(VirtualLoop):
    """An event loop that waits for nothing: whoever has it make turns knows what time it is."""

    buried = False

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, lambda: None)

    def select(self, timeout: float | None) -> list[Any]:
        """Return no events, and let no time pass."""
        return super().select(timeout) if self.buried else []

    def turn(self) -> None:
        """Make one turn."""
        self._thread_id = threading.get_ident()
        asyncio._set_running_loop(self)
        try:
            self._run_once()  # type: ignore[attr-defined]
        finally:
            asyncio._set_running_loop(None)
            self._thread_id = None

    def next_at(self) -> float | None:
        """Return when it has something to do; ``None`` if nothing is left to be done."""
        if self._ready:  # type: ignore[attr-defined]
            return self._clock.seconds
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            one = heapq.heappop(timers)
            one._scheduled = False
            self._timer_cancelled_count = max(self._timer_cancelled_count - 1, 0)  # type: ignore[has-type]
        return timers[0]._when if timers else None

    def bury(self) -> None:
        """Let go of all tasks of a host that died."""
        self.buried = True
        super().bury()


class HostClock:
    """The clocks of a host: its wall clock is off."""

    def __init__(self, clock: VirtualClock, off: float) -> None:
        self._clock, self._off = clock, timedelta(seconds=off)

    def now(self) -> datetime:
        """Return what its wall clock shows."""
        return self._clock.now() + self._off

    def monotonic(self) -> float:
        """Return virtual seconds."""
        return self._clock.seconds


@dataclass(eq=False)
class Host:
    """One life of a host."""

    name: str
    loop: HostLoop
    queue: TaskQueue
    frozen_until: float = 0.0
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    leaving: asyncio.Task[None] | None = None
    way_out: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


Build = Callable[["World", str], TaskQueue]
Live = Callable[["World", Host], Coroutine[Any, Any, None]]


class World:
    """One simulation."""

    def __init__(self, seed: int, storm: Storm, hosts: int, build: Build, live: Live) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.clock = VirtualClock()
        self.storm = storm
        self._count, self._build, self._live = hosts, build, live
        self._least = hosts
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.server = Server(self.later, self.clock.now, random.Random(seed + 1))
        self.judge = Judge(self.clock, self.server.tables)
        self.hosts: list[Host] = []
        self._dead: list[HostLoop] = []
        self.here: Host | None = None
        """Whose turn it is."""
        self.happened: dict[str, int] = dict.fromkeys(("kill", "freeze", "leave", "restart"), 0)
        self.turns = 0

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Have something done by nobody's loop."""
        heapq.heappush(self._events, (self.clock.seconds + seconds, next(self._order), do))

    @property
    def stormy(self) -> bool:
        """Whether something may still go wrong."""
        return self.clock.seconds < self.storm.until

    # -- hosts ------------------------------------------------------------------------

    def _driver(self) -> Driver:
        assert self.here is not None, "a host opens a queue"
        loop = self.here.loop
        return Driver(lambda: self.server.connect(loop))

    def begin(self) -> Host:
        """Start a host."""
        name = f"host {next(self._order)}"
        loop = HostLoop(self.clock)
        queue = self._build(self, name)
        host = Host(name, loop, queue)
        off = self.rng.uniform(-self.storm.skew, self.storm.skew) if self.stormy else 0.0
        host.way_out.enter_context(another_time(queue, HostClock(self.clock, off)))
        inside(queue).registry.middlewares.append(self._around(host))
        loop.set_exception_handler(lambda _, said: self.judge.accident(host, said))
        self.hosts.append(host)
        self.spawn(host, self._live(self, host))
        return host

    def spawn(self, host: Host, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let a host do something."""
        task = host.loop.create_task(work)
        host.tasks.append(task)
        return task

    def _around(self, host: Host) -> Any:
        async def around(task: CurrentTask, go_on: Callable[[], Awaitable[Any]]) -> Any:
            self.judge.began(host, task)
            try:
                return await go_on()
            finally:
                self.judge.ended(host, task)

        return around

    def kill(self, host: Host) -> None:
        """Let a host die where it stands: the server hears of it now, later, or never."""
        self.hosts.remove(host)
        lost = [one for one in self.server._connections if one.loop is host.loop]
        for connection in lost:
            connection.closed = True  # from here nothing is sent any more
            delay = self.rng.choice([0.0, 0.01, 20.0])
            self.later(delay, lambda one=connection: self.server.bury(one))  # type: ignore[misc]
        self.judge.died(host)
        self._bury(host)

    def _bury(self, host: Host) -> None:
        fleet = inside(host.queue).access._fleet  # type: ignore[attr-defined]
        if fleet is not None:  # what it still had to write would go on and on
            fleet._settling._waiting.clear()
            fleet._settling._waiting = deque(maxlen=0)
        host.loop.bury()
        host.way_out.close()
        self._dead.append(host.loop)

    # -- time ---------------------------------------------------------------------------

    def run(self, least: int | None = None) -> World:
        """Let it all happen; return when everything has ended.

        Args:
            least: so many hosts are there at the end, at least; ``None``: as at the begin.

        Raises:
            AssertionError: something did not hold.
        """
        chance = random.getstate()
        random.seed(self.seed)
        logging.disable(logging.CRITICAL)
        try:
            self._least = self._count if least is None else least
            with inline(), mock.patch.object(connections, "driver", self._driver):
                self._run()
        except (AssertionError, StandstillError) as error:
            last = "\n".join(self.judge.trace.last)
            raise AssertionError(f"seed {self.seed}: {error}\n{last}") from error
        finally:
            logging.disable(logging.NOTSET)
            random.setstate(chance)
            for host in self.hosts:
                self._bury(host)
            for loop in self._dead:
                loop.close()
        return self

    def _run(self) -> None:
        self.server.weather = self.storm.weather
        for _ in range(self._count):
            self.begin()
        while self.stormy:
            self._step()
            self._brew()
        self.server.weather = CALM
        over = self.clock.seconds
        while not self._is_done():
            self._step()
            assert self.clock.seconds < over + LIMIT_SECONDS, self._left()
            if self.clock.seconds > over + 2 * LEASE_SECONDS + 10:
                self.judge.nobody_is_lost()
        for host in list(self.hosts):
            self.goodbye(host, again=False)
        while self.hosts:
            self._step()
        self.judge.last_look()

    def _is_done(self) -> bool:
        if self.turns % 50:
            return False
        living = all(task.done() for host in self.hosts for task in host.tasks)
        return living and len(self.hosts) >= self._least and not self.judge.live

    def _left(self) -> str:
        rows = self.server.tables.committed["tasks"].values()
        live = [row for row in rows if row["status"] in {"pending", "started", "retry"}]
        busy = [f"{it.name}: {t}" for it in self.hosts for t in it.tasks if not t.done()]
        return f"not everything ended: {live[:3]}, {busy[:5]}"

    def _step(self) -> None:
        """Let one of those do something who have something to do, or let time pass."""
        now = self.clock.seconds
        ready: list[Host | None] = []
        soonest = self._events[0][0] if self._events else None
        if soonest is not None and soonest <= now:
            ready.append(None)
        for host in self.hosts:
            at = host.loop.next_at()
            if at is None:
                continue
            at = max(at, host.frozen_until)
            if at <= now + 1e-9:
                ready.append(host)
            elif soonest is None or at < soonest:
                soonest = at
        if not ready:
            assert soonest is not None, "nothing is left that could ever happen"
            self.clock.seconds = soonest
            return
        self.turns += 1
        assert self.turns < MOST_TURNS, f"it does not end: {self._left()}"
        chosen = ready[0] if len(ready) == 1 else self.rng.choice(ready)
        if chosen is None:
            heapq.heappop(self._events)[2]()
        else:
            self._turn(chosen)
        self.judge.look()

    def _turn(self, host: Host) -> None:
        self.here = host
        try:
            host.loop.turn()
        finally:
            self.here = None
        for task in host.tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise AssertionError(f"{host.name} broke: {error!r}") from error
        if host.leaving is not None and host.leaving.done() and host in self.hosts:
            self.hosts.remove(host)
            self._bury(host)

    # -- what goes wrong ------------------------------------------------------------------

    def _brew(self) -> None:
        chance, storm = self.rng.random(), self.storm
        for name in ("kill", "freeze", "leave", "restart"):
            rate = getattr(storm, name)
            if chance < rate:
                self.happened[name] += 1
                getattr(self, f"_{name}")(self.rng.choice(self.hosts))
                return
            chance -= rate

    def _kill(self, host: Host) -> None:
        self.kill(host)
        self.begin()

    def _freeze(self, host: Host) -> None:
        host.frozen_until = self.clock.seconds + self.rng.uniform(0.5, 3) * LEASE_SECONDS
        self.judge.froze(host)

    def _leave(self, host: Host) -> None:
        if host.leaving is None:
            self.goodbye(host, again=True)

    def _restart(self, _: Host) -> None:
        if self.server.up:
            self.server.restart(self.rng.uniform(0.1, 5))

    def _owner_of(self, host: Host) -> int:
        fleet = inside(host.queue).access._fleet  # type: ignore[attr-defined]
        return 0 if fleet is None else int(fleet.owner.id)

    def goodbye(self, host: Host, *, again: bool, grace: float | None = None) -> None:
        """Let a host shut down in order, with so many seconds for what runs, or some."""
        if grace is None:
            grace = self.rng.choice([0, 1])

        async def leave() -> None:
            calm = not self.stormy
            owner = self._owner_of(host)
            for task in host.tasks:
                task.cancel()
            await host.queue.shutdown(timeout=grace)
            self.judge.left(host, owner, calm=calm)

        host.leaving = host.loop.create_task(leave())
        if again:
            self.begin()
