"""The engine: the verbs of the queue over one storage, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from wopr.domain.change import Change, Verb, decision
from wopr.domain.clock import naive_now
from wopr.domain.errors import (
    QueueClosedError,
    StorageError,
    TaskNotFoundError,
)
from wopr.domain.status import CLAIMABLE, TERMINAL
from wopr.domain.task import TaskRecord
from wopr.engine.actbook import ActBook
from wopr.engine.acts import Acts
from wopr.engine.adding import Adding
from wopr.engine.again import Again
from wopr.engine.changing import Changing
from wopr.engine.controls import Controls
from wopr.engine.dependencies.dependents import Dependents
from wopr.engine.foreground import Foreground
from wopr.engine.heartbeat import Heartbeat
from wopr.engine.joins import Joins
from wopr.engine.keeping import Keeping
from wopr.engine.limits.declaring import Declaring
from wopr.engine.limits.limits import Limits
from wopr.engine.memory import proportionate
from wopr.engine.pools.pool import Pool
from wopr.engine.recovery import Recovery
from wopr.engine.retaining import Retaining
from wopr.engine.revoking import Revoking
from wopr.engine.ruleacts import RuleActs
from wopr.engine.rules import Rules
from wopr.engine.shared import Shared
from wopr.engine.unfit import Unfit
from wopr.engine.unique import UniqueKeys
from wopr.engine.waiting import Waiters
from wopr.ports.storage import Storage, TaskFilter
from wopr.running.surroundings import Surroundings

log = logging.getLogger(__name__)


class Engine:
    """Tasks of one storage. Build it inside the event loop that it is used on."""

    def __init__(
        self,
        storage: Storage,
        around: Surroundings,
        foreground: Foreground,
        *,
        max_crashes: int,
        window: int,
        memory_bytes: int,
    ) -> None:
        memory = proportionate(memory_bytes)
        shared = self.shared = Shared(storage, around, foreground, self._ended, memory=memory)
        self.pools: dict[str, Pool] = {}
        self._window = window
        self._keys = UniqueKeys()
        self.dependents = Dependents(shared, self.pool, window)
        shared.follow, shared.parents = self.dependents.follow, self.dependents.parents
        shared.release = self.dependents.release
        self.unfit = Unfit(shared, self.pool)
        shared.set_aside = self.unfit.take
        shared.refusals.over = self._look_again
        self.heartbeat = Heartbeat(shared, self._look)
        self.rules = Rules(shared)
        self.controls = Controls(shared, self.rules, self.pools, self.cancel)
        self.limits = Limits(shared, self.rules, self.pool, window, self.cancel)
        adding = self.adding = Adding(
            shared, self.pool, self._keys, self.dependents, self.cancel, self.limits.backlogs
        )
        self.add, self.add_many, self.add_flow = adding.add, adding.add_many, adding.add_flow
        self.check_room = adding.check_room
        self._set_up_changes()
        self.recover = Recovery(shared, max_crashes, self.pools, self._recovered).recover
        self.given_up = False
        """Whether another process gets the file: what was not begun is asked of that one."""
        self.open = self.stopping = False
        """Whether a shutdown was asked for: nothing starts any more."""
        self.on_scheduled: Callable[[TaskRecord], None] = _ignored
        """Told when a task of a schedule has ended, or is put back in its queue by hand."""
        self.on_clock_set: Callable[[], None] = _nothing
        """Told when the wall clock was set."""

    def _set_up_changes(self) -> None:
        shared = self.shared
        shared.look_at_clock = self.look_at_clock
        self.changing = Changing(
            shared, self.pool, self._keys, self.dependents, self.unfit, self._was_put_back
        )
        self.declaring = Declaring(shared, self.rules, self.pool)
        self.joins = Joins(shared, self.pools)
        self.wait = Waiters(shared, self.changing.known, self.joins).wait
        self.book = ActBook(shared)
        self.rule_acts = RuleActs(self.rules, self.book)
        again = Again(shared, self.changing, self._keys, self.add_many)
        self.acts = Acts(shared, self.changing, again, self.book, self.rule_acts)
        self.keeping = Keeping(shared, self.acts, self.book)
        self.revoke = Revoking(self.controls, self.acts).revoke_live
        self.retaining = Retaining(shared, self.acts.deleting)

    # -- life ---------------------------------------------------------------

    async def start(self) -> None:
        """Open the storage and recover what a dead owner left, before anything is claimed."""
        storage = self.shared.storage
        await storage.open()
        try:
            await self.recover(None)
            self._keys.load(await storage.unique_keys())
            now = naive_now(self.shared.clock)
            for lane in await storage.lanes(now):
                self.pool(lane.category).lanes.expect(lane, now)
            await self.rules.load()
            await self.limits.built()
            await self.dependents.load()
        except BaseException:  # what was begun may write nothing: the next one opens the storage
            await self.dependents.close()
            await self.limits.close()
            await storage.close()
            raise
        self.open = True
        self.unfit.look_at_all()
        self.keeping.start()

    def stop_starting(self) -> None:
        """Start nothing from this moment on, whatever is under way; in any thread."""
        self.stopping = True
        for pool in list(self.pools.values()):
            pool.accepting = False
        self.shared.surroundings.executors.beginnings.end()

    async def drain(self, grace: float, told: Exception | None = None) -> None:
        """Let running attempts finish within ``grace`` seconds, interrupt the rest.

        Until then they can use the queue as ever, which their work may need. Whoever waits for
        room in a backlog after that gets an error: ``told``, if there is one.
        """
        await asyncio.gather(*(pool.drain(grace) for pool in self.pools.values()))
        self.shared.refusals.close()
        await self.unfit.close()
        await self.dependents.close()
        await self.declaring.close()
        await self.retaining.close()
        await self.limits.close(told)
        await self.controls.close()
        await self.keeping.stop()
        self.heartbeat.stop()
        self.open = False

    async def close(self, told: Exception | None = None) -> None:
        """Write what is left and close the storage; whoever still waits gets an error."""
        self.open = False
        self.given_up = told is not None
        try:
            await self.shared.storage.flush()
        except StorageError as error:  # what it could not write was not acknowledged
            log.error("The storage fails while the queue is shut down: %s", error)
        await self.shared.surroundings.executors.close()
        await self.shared.storage.close()
        self.shared.send_away(
            told or QueueClosedError("The queue was shut down while this call waited for a task.")
        )

    async def follow(self, category: str) -> None:
        """Take over what the tasks of a category declare, before its workers start."""
        await self.declaring.follow(category)

    def begin_work(self) -> None:
        """Beat from now on: workers are about to start."""
        self.heartbeat.start()

    def add_workers(self, category: str, names: list[str]) -> None:
        """Add workers of a category."""
        self.pool(category).add_workers(names)

    async def answers(self) -> None:
        """Return once the storage has answered a read, after what was written before.

        Raises:
            StorageError: it fails.
        """
        await self.shared.storage.flush()
        await self.shared.storage.statuses([str(UUID(int=0))])  # opens an unusable file again

    async def staffed(self) -> None:
        """Do nothing: who asks for the workers asks this process."""

    def pool(self, category: str) -> Pool:
        """Return the pool of a category, new if need be."""
        pool = self.pools.get(category)
        if pool is None:
            pool = self.pools[category] = Pool(category, self.shared, self._window)
            pool.accepting = not self.stopping
            self.controls.prepare(pool)
        return pool

    def _look(self) -> None:
        """See to it, now and then, that nothing has stopped unnoticed."""
        self.look_at_clock()
        for pool in self.pools.values():
            pool.runs.look()
        if self.open:
            self.retaining.look()

    def look_at_clock(self) -> None:
        """Notice whether the wall clock was set; what waits for a span goes on as it did."""
        steady = self.shared.steady
        before = steady.set_back
        step = steady.look()
        if step is None:
            return
        log.warning("%s", step.describe())
        for pool in self.pools.values():
            pool.lanes.clock_set(steady.set_back - before)
            pool.wake()
        self.on_clock_set()

    def registered(self, name: str) -> None:
        """Look again for waiting tasks of a name that had no function until now."""
        for pool in self.pools.values():
            pool.regroup()
            if name in pool.lanes.unregistered:
                pool.reread()
        self.declaring.registered(name)
        self.unfit.look(name)

    def _look_again(self) -> None:
        """Look again for tasks of names that were left out, whatever for."""
        for pool in self.pools.values():
            if pool.lanes.unregistered:
                pool.reread()

    def wake_background(self) -> None:
        """Look again for tasks of the background; callable from any thread."""

        def wake() -> None:
            for pool in self.pools.values():
                if pool.background:
                    pool.wake()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.shared.loop.call_soon_threadsafe(wake)

    # -- change -------------------------------------------------------------

    async def cancel(self, task_id: str, reason: str | None = None) -> bool:
        """Cancel a waiting or running task; ``False`` if it has ended or is unknown."""
        change = Change(verb=Verb.CANCEL, reason=reason)
        return await self.changing.one(task_id, decision(change, None))

    async def retry(self, task_id: str) -> bool:
        """Put a FAILED task back in the queue with a new budget; ``False`` for any other.

        And one that waits because it did not fit its function, with what is left of its own.
        It waits for a cleanup to end, which may just delete the task's row.
        """
        async with self.acts.deleting:
            return await self.changing.one(task_id, decision(Change(verb=Verb.RETRY), None))

    # -- read ---------------------------------------------------------------

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task as it is on disk (and the progress as it is now)."""
        return await self.changing.known(task_id)

    async def find(self, query: TaskFilter, cursor: str | None) -> list[TaskRecord]:
        """Return matching tasks, newest first; after the task ``cursor``, if given."""
        if cursor is not None:
            last = await self.get(cursor)
            if last is None:
                raise TaskNotFoundError(f"cursor={cursor!r} is no task of this queue (any more).")
            query = replace(query, before_seq=last.seq)
        return await self.shared.storage.find(query)

    def _was_put_back(self, record: TaskRecord) -> None:
        self.on_scheduled(record)

    def _recovered(self, record: TaskRecord) -> None:
        if record.status in CLAIMABLE and self.open:
            self.pool(record.category).push(record)
        elif record.status in TERMINAL:
            self._ended(record)

    def _ended(self, record: TaskRecord) -> None:
        """Forget a task that ended, now that this is on disk, and tell who waits for it."""
        self.shared.live.pop(record.id, None)
        self.shared.left_memory(record.id)
        if record.unique_key is not None:
            self._keys.free(record)
        if self.unfit:
            self.unfit.forget(record)
        self.dependents.ended(record)
        if record.options is not None:
            self.retaining.ended(record)
        if record.schedule is not None:
            self.on_scheduled(record)
        for future in self.shared.waiters.pop(record.id, ()):
            if not future.done():
                future.set_result(record)


def _nothing() -> None:
    """Nobody has schedules yet."""


def _ignored(record: TaskRecord) -> None:
    """Nobody asks about the tasks of schedules yet."""
