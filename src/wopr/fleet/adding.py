"""New tasks: checked by the database, many callers' in one statement."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from wopr.calls.whole import check_whole
from wopr.domain.adding import check_ids, check_parents, key_is_taken, record_of
from wopr.domain.change import Change, Verb, decision
from wopr.domain.checks import is_task_id
from wopr.domain.clock import IdFactory
from wopr.domain.errors import (
    StorageError,
)
from wopr.domain.limits import Limit, OnFull
from wopr.domain.newtask import NewTask, OnConflict
from wopr.domain.snapshot import parents_of
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.fleet.changing import Changing
from wopr.fleet.doubt import so_far, unsaid
from wopr.fleet.growth import Growth
from wopr.fleet.parts import Parts
from wopr.fleet.refusing import check_same, full_backlog
from wopr.fleet.releasing import Releasing
from wopr.fleet.rules import FleetRules
from wopr.fleet.together import Together
from wopr.ports.storage import Entry
from wopr.storage.postgres import statements
from wopr.storage.postgres.store import records

BULK_ROWS = 2_000
BULK_BYTES = 8 * 1024 * 1024
AGAIN_SECONDS = 0.1
"""So long it is waited before a full backlog is looked at again."""

Write = Callable[[Sequence[TaskRecord], Any], Awaitable[set[str]]]
_Made = tuple[set[str], list[Entry]]


class Adding:
    """Adds tasks to the fleet's tables."""

    def __init__(
        self, parts: Parts, rules: FleetRules, changing: Changing, releasing: Releasing
    ) -> None:
        self._parts = parts
        self._rules = rules
        self._changing = changing
        self._releasing = releasing
        self._ids = IdFactory()
        self._growth = Growth(parts)
        self._new = Together(parts, self._tell)
        self._perhaps_new = Together(parts, self._tell)
        self._turns: dict[str, asyncio.Lock] = {}
        """Who adds to a bounded backlog, by category."""

    async def add(self, new: NewTask) -> str:
        """Add one task; return its id once it is durable."""
        if new.depends_on:
            return (await self.add_flow([new]))[0]
        while True:
            record = self._record(new)
            try:
                if new.scheduled_for is not None or self._limit(new.category) is not None:
                    there = await self._bounded([record])
                else:
                    known_by = new.id is not None or new.unique_key is not None
                    there = {record.id} if await self._written(record, known=known_by) else set()
                known = record.id if record.id in there else await self._known(new, record)
            except StorageError as error:
                raise unsaid(error, [record.id]) from error
            if known is not None:
                return known

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add any number of tasks, some thousands to a commit; return their ids in order."""
        tasks = list(tasks)
        check_ids(tasks)
        await self.check_room(Counter(new.category for new in tasks))
        ids: list[str] = []
        chunk: list[NewTask] = []
        size, most = 0, BULK_ROWS
        try:
            for new in tasks:
                if len(chunk) >= most or size > BULK_BYTES:
                    ids += await self._add_chunk(chunk)
                    chunk, size = [], 0
                if not chunk:
                    most = self._most(new.category)
                if new.depends_on:
                    ids += await self._add_chunk(chunk)
                    chunk, size = [], 0
                    ids.append(await self.add(new))
                    continue
                chunk.append(new)
                size += len(new.args) + len(new.kwargs)
            return ids + await self._add_chunk(chunk)
        except StorageError as error:
            raise so_far(error, len(ids), len(tasks)) from error

    async def check_room(self, counts: Mapping[str, int]) -> None:
        """Refuse so many tasks by category, where a backlog is full and does so."""
        for category, number in sorted(counts.items()):
            limit = self._limit(category)
            if limit is not None and limit.on_full is OnFull.REFUSE:
                rows = await self._parts.store.connections.rows(
                    statements.BACKLOG, category=category
                )
                if rows[0][0] + number > (limit.backlog or 0):
                    raise full_backlog(limit, rows[0][0], number)

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on each other, in one commit; return their ids in order."""
        check_whole(tasks)
        check_ids(tasks)
        while True:
            new = tasks[0]
            whole = [self._record(one) for one in tasks]
            for record, one in zip(whole, tasks, strict=True):
                if one.depends_on:
                    ids = [p if isinstance(p, str) else whole[p].id for p in one.depends_on]
                    record.depends_on = '["' + '","'.join(dict.fromkeys(ids)) + '"]'
            try:
                if await self._whole(whole):
                    return [record.id for record in whole]
                known = await self._known(new, whole[0])
            except StorageError as error:
                raise unsaid(error, [record.id for record in whole]) from error
            if known is not None:
                there = known == whole[0].id
                return [record.id for record in whole] if there else [known] * len(tasks)

    async def _whole(self, whole: Sequence[TaskRecord]) -> bool:
        """Add a flow in a transaction; ``False`` if its first task, or its key, is there."""

        async def write(news: Sequence[TaskRecord], connection: Any) -> set[str]:
            await self._wait(connection, news)
            there = await self._parts.store.add(news, connection)
            if len(there) < len(news):
                raise _TakenError
            for record in news:
                if record.waiting:
                    parents = parents_of(record)
                    await self._releasing.wait_for(connection, record.id, parents)
            return there

        try:
            await self._bounded(whole, write)
        except _TakenError:
            return False
        return True

    async def _wait(self, connection: Any, whole: Sequence[TaskRecord]) -> None:
        """Find out who has to wait; the parents are locked until the transaction ends."""
        inside = {record.id for record in whole}
        outside = {one for record in whole for one in parents_of(record)} - inside
        ids = sorted(filter(is_task_id, outside))
        await connection.execute(statements.PARENTS, {"ids": ids})
        cursor = await connection.execute(statements.STANDING, {"ids": ids})
        known: dict[str, str] = dict(await cursor.fetchall())
        check_parents(outside, known)
        success = TaskStatus.SUCCESS.value
        for record in whole:
            record.waiting = any(known.get(one) != success for one in parents_of(record))

    async def _written(self, record: TaskRecord, *, known: bool) -> bool:
        """Add a task, together with those of other callers; whether it was not there.

        One that may be there waits for the transaction in which it is, and no other task does.
        """
        return await (self._perhaps_new if known else self._new).add(record)

    async def _add_chunk(self, chunk: Sequence[NewTask]) -> list[str]:
        if not chunk:
            return []
        now = self._parts.now()
        whole = [self._record(new, now) for new in chunk]
        bounded = any(map(self._limit, {new.category for new in chunk}))
        try:
            if bounded or any(new.scheduled_for for new in chunk):
                there = await self._bounded(whole)
            else:
                there = await self._parts.store.add(whole)
                self._tell([record for record in whole if record.id in there])
        except StorageError as error:
            raise unsaid(error, [record.id for record in whole]) from error
        if len(there) == len(whole):
            return [record.id for record in whole]
        ids = []
        for new, record in zip(chunk, whole, strict=True):
            known = record.id if record.id in there else await self._known(new, record)
            ids.append(known or await self.add(new))
        return ids

    # -- backlogs ---------------------------------------------------------------

    def _limit(self, category: str) -> Limit | None:
        limits = self._rules.limits.get(category, ())
        return next((one for one in limits if one.backlog is not None), None)

    def _most(self, category: str) -> int:
        limit = self._limit(category)
        return BULK_ROWS if limit is None else min(BULK_ROWS, limit.backlog or 0)

    async def _bounded(self, whole: Sequence[TaskRecord], write: Write | None = None) -> set[str]:
        """Add tasks in one transaction, once there is room for them; return who was not there."""
        if write is None:
            planned = any(record.scheduled_for is not None for record in whole)
            write = self._parts.store.add_planned if planned else self._parts.store.add
        connections = self._parts.store.connections
        counts = sorted(Counter(record.category for record in whole).items())
        limits = [(limit, n) for category, n in counts if (limit := self._limit(category))]

        made: _Made = set(), []

        async def work(connection: Any) -> _Made | None:
            nonlocal made
            async with connection.transaction():
                if made[0] and await self._parts.store.has(made[0], connection):
                    return made  # it was not heard that the last try had ended
                dropped: list[Entry] = []
                for limit, number in limits:
                    if (room := await self._make_room(connection, limit, number)) is None:
                        return None
                    dropped += room
                there = await write(whole, connection)
                waiting = [record.id for record in whole if record.waiting]
                made = there, dropped + await self._let_go(connection, waiting)
            return made

        async with contextlib.AsyncExitStack() as stack:  # callers of one process wait in order
            for limit, _ in limits:
                turn = self._turns.setdefault(limit.category, asyncio.Lock())
                await stack.enter_async_context(turn)
            while (done := await connections.run(work)) is None:  # noqa: ASYNC110 - hosts make room
                await asyncio.sleep(AGAIN_SECONDS)
        there, more = done
        ended = {record.id for record, _ in more}
        self._tell([one for one in whole if one.id in there and one.id not in ended])
        self._changing.tell(more)
        return there

    async def _let_go(self, connection: Any, waiting: Sequence[str]) -> list[Entry]:
        """Let go of new tasks whose parents have ended, or failed, already."""
        if not waiting:
            return []
        follow = await self._releasing.look(connection, waiting)
        return await self._releasing.change(connection, follow)

    async def _make_room(self, connection: Any, limit: Limit, number: int) -> list[Entry] | None:
        """Make room in a backlog; ``None``: there will be some later.

        Raises:
            BacklogFullError: there is none, and the policy does not make any.
        """
        await connection.execute(statements.MEASURED, {"what": f"backlog {limit.category}"})
        cursor = await connection.execute(statements.BACKLOG, {"category": limit.category})
        [(count,)] = await cursor.fetchall()
        over = count + number - (limit.backlog or 0)
        if over <= 0:
            return []
        if limit.on_full is OnFull.REFUSE or number > (limit.backlog or 0):
            raise full_backlog(limit, count, number)
        if limit.on_full is OnFull.WAIT:
            return None
        now = self._parts.now()
        values = {"category": limit.category, "now": now, "most": over}
        cursor = await connection.execute(statements.OLDEST, values)
        found = records(await cursor.fetchall())
        if len(found) < over:
            raise full_backlog(limit, count, number)
        cancel = decision(Change(verb=Verb.CANCEL, reason="backlog full"), None)
        entries = [(one, made) for one in found if not isinstance(made := cancel(one, now), str)]
        return await self._releasing.change(connection, entries)

    # -- who is there already -----------------------------------------------------

    async def _known(self, new: NewTask, record: TaskRecord) -> str | None:
        """Return the id of the task in whose place a new one would be; ``None``: try again.

        Raises:
            UniqueKeyConflictError: its key is taken, and the call asked to raise.
            InvalidCallError: its id is that of another call.
        """
        store = self._parts.store
        if (found := await store.get(record.id)) is not None:
            check_same(found, new)
            return found.id
        if new.scheduled_for is not None:  # fired already: once per planned time
            return await store.fired(record)
        if new.unique_key is None:
            return None
        holder = await store.holder(new.unique_key)
        if holder is None:
            return None
        if new.on_conflict is OnConflict.SKIP:
            return holder
        if new.on_conflict is OnConflict.RAISE:
            raise key_is_taken(holder, new.unique_key)
        cancel = decision(Change(verb=Verb.CANCEL, reason="replaced"), None)
        await self._changing.one(holder, cancel)
        return None

    def _record(self, new: NewTask, now: datetime | None = None) -> TaskRecord:
        if now is None:
            now = self._parts.now()
        return record_of(new, new.id or self._ids.new(now), now)

    def _tell(self, whole: Sequence[TaskRecord]) -> None:
        self._growth.added(len(whole))
        self._parts.tell_new(whole)


class _TakenError(Exception):
    """A task of the flow is there already: nothing of it is added."""
