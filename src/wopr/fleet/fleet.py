"""One host's side of a fleet: its pools, its lease, and what it looks at now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from wopr.domain.change import Change, Verb, decision
from wopr.domain.errors import QueueClosedError
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.executors.context import CurrentTask
from wopr.fleet import doubt
from wopr.fleet.adding import Adding
from wopr.fleet.changing import Changing
from wopr.fleet.claiming import Claiming
from wopr.fleet.lines import Lines
from wopr.fleet.looking import Host, Looking
from wopr.fleet.owner import LEASE_SECONDS, Owner
from wopr.fleet.parts import Observer, Parts, logged
from wopr.fleet.pool import FleetPool
from wopr.fleet.releasing import Releasing
from wopr.fleet.rules import FleetRules
from wopr.fleet.servertime import ServerTime
from wopr.fleet.settling import Settling
from wopr.fleet.touching import Touching
from wopr.fleet.unfit import Unfit
from wopr.fleet.waiting import Waiting
from wopr.running.attempt import Worker
from wopr.running.surroundings import Surroundings
from wopr.storage.postgres import notices, schema, statements
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.moving import marks
from wopr.storage.postgres.notices import Bell, Listener
from wopr.storage.postgres.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""So late something is noticed, at most, that nobody was heard to call."""
SELDOM = 5
"""Every so many looks, the lease is renewed and those of other hosts are looked at."""
assert SELDOM * LOOK_SECONDS <= LEASE_SECONDS / 3, "two looks may fail before the lease ends"


class Fleet:
    """The tasks of one database, as this host works on them.

    Args:
        store: the tables.
        around: what runs need.
        clock: the time of the server.
        max_crashes: a task that ran in so many deaths fails.
        held: whether work in the foreground holds the background back.
    """

    identity = ""
    """The name of the queue that these tables are of, which no other has; once it is open."""

    def __init__(
        self,
        store: Store,
        around: Surroundings,
        clock: ServerTime,
        *,
        max_crashes: int,
        held: Callable[[], bool],
    ) -> None:
        self.pools: dict[str, FleetPool] = {}
        self._connections: Connections = store.connections
        bell = Bell(store.connections)
        parts = self.parts = Parts(
            store, around, clock, bell, self.wake, self._ended, lambda: list(self.pools)
        )
        self.held = held
        self.releasing = Releasing(parts)
        self.changing = Changing(parts, self.releasing)
        self.rules = FleetRules(parts)
        self.owner = Owner(parts, self.changing, max_crashes, self._slots)
        self.adding = Adding(parts, self.rules, self.changing, self.releasing)
        self.claiming = Claiming(
            parts, self.rules, self.changing, self.releasing, lambda: self.owner.id
        )
        self.waiting = Waiting(parts)
        self.lines = Lines(store)
        self.unfit = Unfit(parts, self.changing)
        self._settling = Settling(parts, self.changing)
        self._touching = Touching(parts)
        ids = self._settling.ids
        host = Host(self.pools, self.owner, self.rules, self.claiming, ids, self._let_go)
        self.looking = Looking(parts, host)
        self._listener = Listener(store.connections, self)
        self._repeated: list[asyncio.Task[None]] = []
        self.open = False
        self.seen_at = parts.now()
        """When the event loop was last seen alive."""

    @property
    def stopping(self) -> bool:
        """Whether a shutdown was asked for: nothing starts any more."""
        return self.parts.stopping

    # -- life -------------------------------------------------------------------

    async def start(self, proof: str = "") -> None:
        """Connect, make the tables if there are none, and listen.

        Args:
            proof: the move that brought the queue here, if the home that was left said so.
        """
        await self._connections.open()
        try:
            _, self.identity = await schema.prepare(self._connections)
            await marks.settle(self._connections, proof)
            await self.looking.look()
            self.parts.around.steady.begin()  # now that the time is known
            await self.looking.look_around()
        except BaseException:
            await self._connections.close()
            raise
        self.open = True
        self._listener.start()
        create = self.parts.around.loop.create_task
        self._repeated = [create(self._look_on()), create(self._keep_on())]

    async def follow(self, category: str) -> None:
        """Get ready for workers of a category: a lease, and the limits that its tasks declare."""
        if not self.owner.id:
            await self.owner.register()
        await self.rules.follow(category)

    def begin_work(self) -> None:
        """Do nothing: it looks at everything as soon as it is open."""

    def add_workers(self, category: str, names: list[str]) -> None:
        """Add workers of a category."""
        pool = self.pools.get(category)
        if pool is None:
            pool = self.pools[category] = FleetPool(
                category,
                self.parts,
                self.claiming,
                self._settling,
                self._touching,
                lambda: self.stands_back(category),
            )
        pool.add_workers(names)

    def stands_back(self, category: str) -> bool:
        """Whether a category is of the background, and the foreground is held here."""
        return self.held() and self.parts.registry.category(category).background

    async def answers(self) -> None:
        """Return once the server has answered.

        Raises:
            StorageError: it does not.
        """
        await self._connections.rows(statements.NOW)

    async def staffed(self) -> None:
        """Let other hosts know of the workers that were added, and see what fits them again."""
        with logged("Other hosts could not be told of the new workers"):
            await self.owner.renew()
            await self.unfit.look(None)

    def stop_starting(self) -> None:
        """Start nothing from this moment on, whatever is under way; in any thread."""
        self.parts.stopping = True
        for pool in list(self.pools.values()):
            pool.accepting = False
        self.parts.around.executors.beginnings.end()

    async def drain(self, grace: float) -> None:
        """Let running attempts finish within ``grace`` seconds, interrupt the rest."""
        await asyncio.gather(*(pool.drain(grace) for pool in self.pools.values()))
        await self._settling.close()
        await self._touching.close()
        await self.lines.close()
        await self.parts.settle_down()
        self.open = False

    async def close(self, error: Exception | None = None) -> None:
        """Give the lease back and let go of the server; whoever still waits gets an error."""
        self.open = False
        for one in self._repeated:
            one.cancel()
        await asyncio.gather(*self._repeated, return_exceptions=True)
        await self._listener.stop()
        await self.owner.leave()
        await self.parts.bell.close()
        await self.parts.around.executors.close()
        await self._connections.close()
        closed = QueueClosedError("The queue was shut down while this call waited for a task.")
        self.waiting.send_away(error or closed)

    # -- for who keeps lines ------------------------------------------------------

    def runs(self, task: CurrentTask) -> bool:
        """Whether this host runs this attempt now; in any thread."""
        pool = self.pools.get(task.category)
        attempt = None if pool is None else pool.running.get(task.id)
        return attempt is not None and attempt.context is task

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have somebody told of each transition of this host that is durable."""
        self.parts.observers.append(observer)
        return lambda: self.parts.observers.remove(observer)

    def save_logs(self, lines: Sequence[LogLine]) -> None:
        """Store lines soon; too many are dropped."""
        self.lines.add(lines)

    def _slots(self) -> dict[str, list[Worker]]:
        return {name: list(pool.workers) for name, pool in self.pools.items()}

    # -- what happens -------------------------------------------------------------

    def wake(self, category: str, at: datetime | None = None) -> None:
        """Start what a category has to start, now or then."""
        pool = self.pools.get(category)
        if pool is not None:
            pool.wake(at)

    def wake_all(self) -> None:
        """Look at all categories; callable from any thread."""
        loop = self.parts.around.loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for pool in self.pools.values():
            pool.wake()

    def registered(self, name: str) -> None:
        """Start tasks of a name that has a function from now on."""
        self._wake_all()
        if self.pools:
            self.parts.spawn(self._fits(name))

    async def _fits(self, name: str) -> None:
        with logged(f"Tasks {name!r} that did not fit can't be looked at"):
            definition = self.parts.registry.definitions.get(name)
            if definition is not None and definition.limit is not None:
                await self.rules.follow(definition.category)
            await self.unfit.look(name)

    def _ended(self, record: TaskRecord) -> None:
        self.waiting.ended(record)
        self._let_go(record.id)
        if record.category in self.rules.limits:  # there may be room for another one
            self.wake(record.category)
            self.parts.bell.work(record.category)

    def _let_go(self, task_id: str) -> None:
        for pool in self.pools.values():
            pool.let_go(task_id)

    # -- looks --------------------------------------------------------------------

    def heard(self, kind: str, said: list[str]) -> None:
        """Take what another host, or this one, has called."""
        if kind == notices.WORK:
            self.wake(said[0])
        elif kind == notices.ENDED and self.waiting:
            self._beside(self.waiting.look(said))
        elif kind == notices.CANCELLED and self.looking.running(said):
            self._beside(self.looking.look_at_running(said))
        elif kind == notices.RULES:
            self._beside(self.rules.load())

    def missed(self) -> None:
        """Look at everything: for a while nobody listened here."""
        self._wake_all()
        self._beside(self.waiting.look())

    def _beside(self, work: object) -> None:
        async def guarded() -> None:
            with logged("What another host said can't be looked at now"):
                await work  # type: ignore[misc]

        if self.open:
            self.parts.spawn(guarded())
        else:
            work.close()  # type: ignore[attr-defined]

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.seen_at = self.parts.now()
            with logged("The fleet can't be looked at now"):
                await self.looking.look()
                if self.waiting:
                    await self.waiting.look()

    async def _keep_on(self) -> None:
        """Renew the lease, apart from looks: one that takes long does not cost it."""
        while True:
            await asyncio.sleep(SELDOM * LOOK_SECONDS)
            with logged("The lease can't be renewed now"):
                if self.owner.id:
                    await self.owner.renew()
                    await self.looking.look_around()
            with logged("It can't be seen whether the queue is still here"):
                await marks.settle(self._connections)

    # -- change ---------------------------------------------------------------------

    async def cancel(self, task_id: str, reason: str | None = None) -> bool:
        """Cancel a waiting or running task; ``False`` if it has ended or is unknown."""
        change = Change(verb=Verb.CANCEL, reason=reason)
        with doubt.changing(task_id, "cancelled"):
            return await self.changing.one(task_id, decision(change, None))

    async def retry(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue with a new budget; ``False`` for any other."""
        with doubt.changing(task_id, "put back in its queue"):
            return await self.changing.one(task_id, decision(Change(verb=Verb.RETRY), None))
