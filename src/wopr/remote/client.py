"""The other side: a queue whose file another process owns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from wopr.domain.clock import Clock, SystemClock, naive_now
from wopr.domain.logline import LogLine
from wopr.domain.newtask import NewTask
from wopr.domain.rule import Rule
from wopr.domain.status import LIVE, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.executors.context import running_task
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo
from wopr.ports.cut import Cut
from wopr.ports.storage import PAGE_BYTES, QueryLimits, QueryRows, Snapshot, TaskFilter, weight
from wopr.remote import protocol
from wopr.remote.acts import RemoteActs
from wopr.remote.caller import CALL_SECONDS, Caller, Elsewhere
from wopr.remote.messages import MOST_CATEGORIES
from wopr.remote.questions import ARCHIVE_SECONDS, RemoteQuestions
from wopr.remote.rules import RemoteRules, rule_to_plain
from wopr.remote.schedules import RemoteSchedules

ANSWER_SECONDS = 0.25
"""So much longer than the owner waits for a task its answer is waited for."""
QUERY_TIMES = 20
"""So many times as long as a query may run its answer is waited for at most, while the owner
answers at all: there it may wait for others of this client, be copied for, and be asked again."""
BULK = 5_000
BULK_BYTES = 8 * 1024 * 1024
"""A message ends with the task that brings it to so many tasks, or bytes of payload."""


class RemoteBackend(Caller, RemoteQuestions):
    """The verbs of a queue, carried out by the process that owns the file.

    What its owner did not do, because it gave the file up, is asked of the next one; so is what
    it may have done, because it was killed. A repeated call is the same task, by its id.

    Args:
        database: the file.
        call_seconds: longest wait for an answer of the owner; its waits for tasks are no such
            wait, for as long as it answers at all.
        query_seconds: how long the owner lets a query of people run; for its turn and its answer
            it is waited longer, for as long as the owner answers at all.
        elsewhere: asks the next owner; ``None``: it is an error that this one is gone.
        clock: source of time for the ids of new tasks.
    """

    def __init__(
        self,
        database: Path,
        call_seconds: float = CALL_SECONDS,
        query_seconds: float = 0.0,
        elsewhere: Elsewhere | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(database, call_seconds, elsewhere)
        self._clock = clock or SystemClock()
        self.schedules = RemoteSchedules(self._call, self._new_id)
        self.rules = RemoteRules(self._call)
        query = partial(self._watched, most=self._longest(query_seconds))
        self.acts = RemoteActs(self._call, query, self._watched)

    async def add(self, new: NewTask) -> str:
        """Add one task; return its id once it is on disk."""
        if new.id is None:
            new.id = self._new_id()
        plain = protocol.new_task_to_plain(new)
        return str((await self._carried(self._call_seconds, "add", plain))[0])

    def _bulk(self) -> tuple[int, int]:
        return BULK, BULK_BYTES

    def _new_id(self) -> str:
        return self._ids.new(naive_now(self._clock))

    def _name(self, tasks: Iterable[NewTask]) -> None:
        """Give new tasks their ids, so that the call can be repeated."""
        now = naive_now(self._clock)
        for new in tasks:
            new.id = new.id or self._ids.new(now)

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add many tasks; return their ids in order."""
        portions = list(_portions(tasks, *self._bulk()))
        if len(portions) > 1:  # more than one call: refuse all of them, or none
            await self.check_room(Counter(new.category for part in portions for new in part))
        ids: list[str] = []
        for part in portions:
            self._name(part)
            plain = [protocol.new_task_to_plain(new) for new in part]
            ids += await self._call("add_many", plain)
        return ids

    async def check_room(self, counts: Mapping[str, int]) -> None:
        """Refuse so many tasks by category, where a backlog is full and does so."""
        categories = sorted(counts)
        for start in range(0, len(categories), MOST_CATEGORIES):
            part = categories[start : start + MOST_CATEGORIES]
            await self._call("check_room", {one: counts[one] for one in part})

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on each other in one commit; return their ids in order."""
        self._name(tasks)
        plain = [protocol.new_task_to_plain(new) for new in tasks]
        return list(await self._call("add_flow", plain))

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task as it is on disk."""
        row = await self._call("get", task_id)
        return None if row is None else TaskRecord.from_row(row)

    async def find(self, query: TaskFilter, cursor: str | None) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        found: list[TaskRecord] = []
        while True:
            left = replace(query, limit=query.limit - len(found))
            rows = await self._call("find", protocol.filter_to_plain(left), cursor)
            page = [TaskRecord.from_row(row) for row in rows]
            found += page
            if len(found) >= query.limit or sum(map(weight, page)) < PAGE_BYTES:
                return found
            query, cursor = replace(query, offset=0, before_seq=page[-1].seq), None

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return a task once it has ended; the time is taken here, whatever the owner does."""
        task = running_task()  # in a worker process: its slot is the owner's
        who = () if task is None else (task.id,)
        if timeout is None:
            return TaskRecord.from_row(await self._watched("wait", task_id, None, *who))
        limit = asyncio.timeout(timeout + ANSWER_SECONDS)
        try:
            async with limit:
                return TaskRecord.from_row(await self._within(None, "wait", task_id, timeout, *who))
        except TimeoutError:
            if not limit.expired():
                raise
            known = f"Whether task {task_id} has ended is not known."
            raise self._silent(timeout, known) from None

    async def cancel(self, task_id: str, reason: str | None = None) -> bool:
        """Cancel a live task."""
        done, lost = await self._carried(self._call_seconds, "cancel", task_id, reason)
        return bool(done) or (lost and await self._stands(task_id, {TaskStatus.CANCELLED}))

    async def revoke(self, rule: Rule) -> int:
        """Cancel the live tasks that a revocation is about; return how many."""
        return int(await self._call("revoke", rule_to_plain(rule)))

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that a task logged, in order."""
        return [LogLine(*line) for line in await self._call("logs", task_id, limit)]

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers by category and name."""
        return [WorkerInfo(**worker) for worker in await self._call("workers")]

    async def retry(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue."""
        done, lost = await self._carried(self._call_seconds, "retry", task_id)
        return bool(done) or (lost and await self._stands(task_id, LIVE))

    async def _stands(self, task_id: str, where: Container[TaskStatus]) -> bool:
        """Whether a change that may have been made before its owner was killed was made."""
        record = await self.get(task_id)
        return record is not None and record.status in where

    async def recover(self, category: str | None) -> int:
        """Decide about STARTED tasks that nobody runs."""
        return int(await self._call("recover", category))

    async def add_workers(self, category: str, count: int) -> int:
        """Add workers to the process that runs them; return how many of the category it has."""
        return int(await self._call("add_workers", category, count))

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment."""
        return int(await self._call("cleanup", before, keep_history))

    async def archive(self, before: datetime, directory: Path | None) -> tuple[int, bool]:
        """Archive, for some seconds, what ended until then; return how many, and if that is all."""
        place = None if directory is None else str(directory)
        count, complete = await self._within(ARCHIVE_SECONDS, "archive", before, place)
        return int(count), bool(complete)

    async def stats(self) -> dict[str, Any]:
        """Return exact counts."""
        return dict(await self._call("stats"))

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands."""
        return protocol.explanation_from_plain(await self._call("explain", task_id))

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return a task's transitions in order."""
        return [protocol.entry_from_plain(item) for item in await self._call("history", task_id)]

    async def sql(self, query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        """Run one read-only query, within limits that the owner is told."""
        asked = "sql", query, list(params), limits.rows, limits.seconds
        columns, rows, cut = await self._watched(*asked, most=self._longest(limits.seconds))
        rows = [tuple(row) for row in rows]
        return QueryResult(QueryRows(tuple(columns), rows, None if cut is None else Cut(cut)))

    def _longest(self, seconds: float) -> float:
        """Return how long the answer of a query that may run so long is waited for."""
        return self._call_seconds + QUERY_TIMES * seconds

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Return a copy of the database to ask in another process, some seconds old at most."""
        path, moment, taken = await self._call("snapshot", own)
        return Snapshot(Path(path), moment, taken)


def _portions(tasks: Iterable[NewTask], most: int, most_bytes: int) -> Iterator[list[NewTask]]:
    """Cut tasks into as many as one message takes."""
    part: list[NewTask] = []
    size = 0
    for new in tasks:
        part.append(new)
        size += len(new.args) + len(new.kwargs) + len(new.options or "")
        if len(part) >= most or size >= most_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part
