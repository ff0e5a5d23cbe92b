"""Running tasks that wait for other tasks: who for whom, who is stuck, and what is lent meanwhile.

Known by the context variable of the running task, so a wait in a thread of it counts as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

from wopr.domain.limits import Meter
from wopr.domain.snapshot import parents_of
from wopr.domain.spoken import counted
from wopr.domain.status import CLAIMABLE
from wopr.domain.task import TaskRecord
from wopr.engine.pools.pool import Pool
from wopr.engine.shared import Shared
from wopr.executors.context import asking_task, running_task
from wopr.running.attempt import Attempt

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""So long after a wait began it is looked whether it can end: by then it is known what starts."""
SHARE = 20
"""A look that took long is followed by a pause so many times as long."""
MOST_FOLLOWED = 1_000
"""So many tasks are followed, from the awaited one to those that it depends on."""


NAMED = 5
"""So many of the tasks that one waits for are named."""
Known = dict[int, bool]
"""What was found out in one round, about pools and limits by their identity."""


class Block(NamedTuple):
    """A task that can't go on, and why."""

    record: TaskRecord
    why: str


@dataclass(slots=True)
class Join:
    """A task that a running one waits for, once or several times."""

    record: TaskRecord
    count: int = 0


class Joins:
    """The waits of running tasks for other tasks, in one engine."""

    def __init__(self, shared: Shared, pools: Mapping[str, Pool]) -> None:
        self._shared = shared
        self._pools = pools
        self._joins: dict[Attempt, dict[str, Join]] = {}
        self._warned: set[Attempt] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = LOOK_SECONDS

    # -- waiting --------------------------------------------------------------

    def joining(self, record: TaskRecord) -> contextlib.AbstractAsyncContextManager[None] | None:
        """Return a block in which the running task that calls waits for another one.

        ``None`` if whoever calls is no task.

        Its slot is lent meanwhile, where the category says so. The block is left once it has one
        again; by one that is cancelled at once, and it gets one as soon as there is.
        """
        attempt = self._attempt()
        return None if attempt is None else self._joining(attempt, record)

    @contextlib.asynccontextmanager
    async def _joining(self, attempt: Attempt, record: TaskRecord) -> AsyncIterator[None]:
        self._begin(attempt, record)
        back: asyncio.Future[None] | None = None
        try:
            try:
                yield
            finally:
                back = self._end(attempt, record.id)
        except asyncio.CancelledError:
            back = None
            raise
        finally:
            if back is not None:
                await back

    def _attempt(self) -> Attempt | None:
        """Return the attempt of this engine that the calling code runs in, or speaks for."""
        if (asking := asking_task()) is not None:
            running = (pool.running.get(asking) for pool in self._pools.values())
            return next((attempt for attempt in running if attempt is not None), None)
        task = running_task()
        pool = None if task is None else self._pools.get(task.category)
        if task is None or pool is None:
            return None
        attempt = pool.running.get(task.id)
        return attempt if attempt is not None and attempt.context is task else None

    def _begin(self, attempt: Attempt, record: TaskRecord) -> None:
        ids = self._joins.setdefault(attempt, {})
        ids.setdefault(record.id, Join(record)).count += 1
        attempt.joins += 1
        self._pools[attempt.record.category].lending.lend(attempt)
        self._look_soon()

    def _end(self, attempt: Attempt, task_id: str) -> asyncio.Future[None] | None:
        """Note the end of a wait; return what is done once the attempt has the slot it lent."""
        ids = self._joins[attempt]
        ids[task_id].count -= 1
        attempt.joins -= 1
        if not ids[task_id].count:
            del ids[task_id]
        if ids:
            self._look_soon()
            return None
        del self._joins[attempt]
        self._warned.discard(attempt)
        return self._pools[attempt.record.category].lending.take_back(attempt)

    # -- who is stuck ---------------------------------------------------------

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = self._shared.loop.call_later(self._pause, self._look)

    def _look(self) -> None:
        """Warn of tasks that wait for ever, each attempt once."""
        self._timer = None
        monotonic = self._shared.clock.monotonic
        began, stuck = monotonic(), self.stuck()
        for attempt in stuck - self._warned:
            self._warned.add(attempt)
            record = attempt.record
            log.warning(
                "Task %s (%s) is stuck: %s", record.id, record.name, self._why(attempt, stuck)
            )
        self._pause = max(LOOK_SECONDS, SHARE * (monotonic() - began))

    def stuck(self) -> set[Attempt]:
        """Return the attempts that wait for tasks none of which can end.

        Who does not wait goes on. So does who waits for one that goes on, or that can start: in
        whose category one who goes on holds a slot, and likewise room in each limit.
        """
        stuck = {attempt for attempt in self._joins if not attempt.over}
        while stuck:
            known: Known = {}
            going = {
                one
                for one in stuck
                if any(self._block(join.record, stuck, known) is None for join in self._of(one))
            }
            if not going:
                break
            stuck -= going
        return stuck

    def _of(self, attempt: Attempt) -> Collection[Join]:
        return self._joins.get(attempt, {}).values()

    def _block(self, record: TaskRecord, stuck: set[Attempt], known: Known) -> Block | None:
        """Return what is in the way of a task, or of one that it depends on; ``None``: nothing."""
        live = self._shared.live
        todo, seen = [live.get(record.id, record)], {record.id}
        while todo:
            one = todo.pop()
            if one.waiting:
                parents = [parent for parent in parents_of(one) if parent not in seen]
                seen.update(parents)
                # One that is not in memory starts some day, or has ended.
                todo += [live[parent] for parent in parents[:MOST_FOLLOWED] if parent in live]
                if len(seen) > MOST_FOLLOWED:
                    return None
            elif (why := self._in_the_way(one, stuck, known)) is not None:
                return Block(one, why)
        return None

    def _in_the_way(self, record: TaskRecord, stuck: set[Attempt], known: Known) -> str | None:
        pool = self._pools.get(record.category)
        attempt = None if pool is None else pool.running.get(record.id)
        if attempt is not None:
            return "it runs and waits for others itself" if attempt in stuck else None
        if pool is None or not pool.workers or record.status not in CLAIMABLE:
            return None
        if _all_in(pool, pool.slots_taken, stuck, known):
            workers = counted(len(pool.workers), "worker")
            return f"all {workers} of category {record.category!r} run tasks that wait for others"
        for meter in () if pool.gate is None else pool.gate.full(record):
            if _all_in(meter, partial(pool.room_taken, meter), stuck, known):
                why = meter.why(self._shared.steady.now())
                return f"a limit holds it back ({why}), and all of those wait for others"
        return None

    # -- telling --------------------------------------------------------------

    def told(self, attempt: Attempt) -> tuple[bool, str]:
        """Say what a running task waits for, and whether it is stuck; empty: it does not wait."""
        joins = self._of(attempt)
        if not joins:
            return False, ""
        stuck = self.stuck()
        if attempt in stuck:
            return True, self._why(attempt, stuck)
        names = [f"{join.record.id} ({join.record.name})" for join in islice(joins, NAMED)]
        more = f" and {len(joins) - NAMED} more" if len(joins) > NAMED else ""
        lent = " Its slot is lent meanwhile." if attempt.lent else ""
        return False, f"It waits for task {', '.join(names)}{more}.{lent}"

    def _why(self, attempt: Attempt, stuck: set[Attempt]) -> str:
        known: Known = {}
        for join in self._of(attempt):
            block = self._block(join.record, stuck, known)
            if block is not None:
                waited = f"it waits for task {join.record.id} ({join.record.name})"
                if block.record.id != join.record.id:
                    waited += f", that for task {block.record.id} ({block.record.name})"
                return f"{waited}, and {block.why}. {_advice(block.record.category)}"
        return "what it waited for can go on now."

    def blocked(self, record: TaskRecord) -> str | None:
        """Say what is in the way of a waiting task if those who are in it wait for ever."""
        if not self._joins or record.status not in CLAIMABLE:  # it has started meanwhile
            return None
        why = self._in_the_way(record, self.stuck(), {})
        if why is None:
            return None
        waiting = [one.record.id for one, joins in self._joins.items() if record.id in joins]
        by = f" Task {waiting[0]} waits for it." if waiting else ""
        return f"It can't start: {why}.{by} {_advice(record.category)}"


def _all_in(
    key: Pool | Meter,
    holders: Callable[[], list[Attempt] | None],
    stuck: set[Attempt],
    known: Known,
) -> bool:
    """Whether all slots of a pool, or all room of a limit, are held by attempts that are stuck."""
    if id(key) not in known:
        found = holders()
        known[id(key)] = found is not None and stuck.issuperset(found)
    return known[id(key)]


def _advice(category: str) -> str:
    return (
        f"This lasts until one of them gives up. Let the tasks lend their slots while they wait: "
        f"queue.category({category!r}, lend_slots=True); or start more workers, or let the waiting "
        "one depend on the other (depends_on=, chain, chord)."
    )
