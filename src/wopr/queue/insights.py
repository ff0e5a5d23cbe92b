"""What a queue can be asked about its present and past."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, overload

from wopr.core import asking
from wopr.core import whatif as whatifs
from wopr.core.status import status_of
from wopr.core.whatif import Rate, When
from wopr.domain.checks import check_count, check_id, check_label, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.logline import LogLine
from wopr.domain.selection import check_status
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskInfo
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo
from wopr.ports.backup import Backup, Export
from wopr.ports.status import About, GroupExplanation, Status
from wopr.ports.storage import TaskFilter
from wopr.ports.stream import BATCH_BYTES, LONGEST_STREAM, MOST_BATCH_BYTES, QueryStream
from wopr.ports.whatif import WhatIf
from wopr.queue.face import Face


class Insights(Face):
    """Reads. A queue that is switched off, or has no file yet, answers empty."""

    async def get_task_info(self, task_id: str) -> TaskInfo | None:
        """Return a snapshot of a task; ``None`` if it is unknown or the queue is switched off."""
        return await self._core.info(task_id)

    async def require_task_info(self, task_id: str) -> TaskInfo:
        """Return a snapshot of a task.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
        """
        return await self._core.known_info(task_id)

    async def wait(self, task_id: str, timeout: float | None = None) -> TaskInfo:
        """Wait until a task has ended and return its snapshot.

        Args:
            task_id: of any task of this queue.
            timeout: seconds to wait at most; ``None`` waits for ever.

        Raises:
            TaskNotFoundError: the queue does not know it.
            TimeoutError: it did not end in time. It goes on.
            QueueDisabledError: the queue is switched off.
        """
        return self._core.info_of(await self._core.ended(task_id, timeout))

    async def get_tasks(
        self,
        category: str | None = None,
        status: TaskStatus | str | None = None,
        name: str | None = None,
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
        *,
        flow_id: str | None = None,
        schedule: str | None = None,
    ) -> list[TaskInfo]:
        """Return tasks, newest first.

        Args:
            category: only of this category.
            status: only in this status.
            name: only of this task.
            limit: at most so many.
            offset: leave out so many of the newest.
            cursor: the id of the last task of the page before; cheaper than ``offset``.
            flow_id: only of this flow.
            schedule: only those that this schedule enqueued.

        Raises:
            InvalidCallError: a value can't be what it has to be.
        """
        query = TaskFilter(
            category=None if category is None else check_label(category, "category"),
            status=None if status is None else check_status(status),
            name=None if name is None else check_label(name, "name"),
            flow_id=None if flow_id is None else check_id(flow_id),
            schedule=None if schedule is None else check_label(schedule, "schedule"),
            limit=check_count(limit, "limit", most=1_000_000),
            offset=check_count(offset, "offset"),
        )
        after = None if cursor is None else check_id(cursor)
        return self._core.infos_of(await self._core.find(query, after))

    async def get_task_stats(self) -> dict[str, Any]:
        """Return exact counts: total, by_status, by_category, running and queued.

        And ``held``, if there is anything in it: which tasks wait because an executor refused them
        or because they do not fit their function, with the reason.
        """
        nothing = {"total": 0, "by_status": {}, "by_category": {}, "running": 0, "queued": 0}
        return await self._core.ask(lambda backend: backend.stats(), nothing)

    @overload
    async def sql(
        self, query: str, *params: Any, limit: int | Literal["setting"] = "setting"
    ) -> QueryResult: ...

    @overload
    async def sql(
        self,
        query: str,
        *params: Any,
        limit: None,
        timeout: float = LONGEST_STREAM,
        batch_bytes: int = BATCH_BYTES,
    ) -> QueryStream: ...

    async def sql(
        self,
        query: str,
        *params: Any,
        limit: int | Literal["setting"] | None = "setting",
        timeout: float = LONGEST_STREAM,
        batch_bytes: int = BATCH_BYTES,
    ) -> QueryResult | QueryStream:
        """Run one read-only SQL query; it sees everything enqueued before.

        Args:
            query: one SELECT; ``?`` stands for a parameter. Tables ``tasks`` and
                ``transitions``, and the views of the reference.
            *params: the values, in order.
            limit: most rows of the answer; without it, ``WOPR_TASKS_QUERY_ROWS``. ``None`` gives
                all rows there are, as a stream of Arrow batches from a process of its own, on
                a copy of the database that is deleted with it.
            timeout: a stream ends after so many seconds, read to its end or not; an hour at most.
            batch_bytes: about so large a batch of a stream is; 1 KiB to 64 MiB.

        Raises:
            QueryError: it was refused, or it failed.
            QueryTimeoutError: it, or the next batch, took longer than
                ``WOPR_TASKS_QUERY_SECONDS``.
            QueueDisabledError: the queue is switched off.
        """
        if limit is None:
            return await asking.stream_sql(
                self._core,
                query,
                *params,
                timeout=_stream_seconds(timeout),
                batch_bytes=check_count(
                    batch_bytes, "batch_bytes", least=1024, most=MOST_BATCH_BYTES
                ),
            )
        return await asking.sql(self._core, query, *params, rows=_rows(limit))

    async def typed_sql(
        self, query: str, *params: Any, limit: int | Literal["setting"] = "setting"
    ) -> QueryResult:
        """Run one read-only SQL query that somebody typed, where it can do no harm.

        Like :meth:`sql`, but in a process of its own, which is killed when its time or its
        memory is over, and on a snapshot of the database, some seconds old at most: the
        ``moment`` of the answer tells of when.

        Args:
            query: as of :meth:`sql`.
            *params: the values, in order.
            limit: most rows of the answer; without it, ``WOPR_TASKS_QUERY_ROWS``.

        Raises:
            QueryError: it was refused, or it failed; or the database is larger than
                ``WOPR_TASKS_SNAPSHOT_LIMIT``, or the disk has no room for a copy of it.
            QueryTimeoutError: it took longer than ``WOPR_TASKS_QUERY_SECONDS``.
            QueueDisabledError: the queue is switched off.
        """
        return await asking.typed_sql(self._core, query, *params, rows=_rows(limit))

    async def backup(
        self, path: str | Path, *, verify: bool = False, overwrite: bool = False
    ) -> Backup:
        """Make one complete file of the database, of one moment; work goes on meanwhile.

        Args:
            path: of the new file, mode 0600.
            verify: have a doctor see the copy before it is put there.
            overwrite: replace a file that is there, in one step.

        Raises:
            StorageError: it could not be made, or the doctor found something. Then nothing is
                left of it.
            QueueDisabledError: the queue is switched off.
        """
        return await asking.backup(self._core, Path(path), verify=verify, overwrite=overwrite)

    async def export(self, directory: str | Path, *, overwrite: bool = False) -> Export:
        """Write all tasks, transitions and log lines, of one moment, as Parquet files.

        Work goes on meanwhile. The files are ``tasks/day=2026-11-30/….parquet`` by the day, in
        UTC, on which a task was enqueued, and ``transitions`` and ``logs`` by theirs. The
        directory appears when it is complete.

        Args:
            directory: a new one, mode 0700.
            overwrite: replace an export that is there.

        Raises:
            StorageError: it could not be done. Then nothing is left of it.
            QueueDisabledError: the queue is switched off.
        """
        return await asking.export_to(self._core, Path(directory), overwrite=overwrite)

    async def whatif(
        self,
        *,
        workers: Mapping[str, int] | None = None,
        limits: Mapping[str, int | None] | None = None,
        rates: Mapping[str, Rate | None] | None = None,
        since: When = timedelta(days=1),
        until: When | None = None,
    ) -> WhatIf:
        """Say how long tasks would have waited with other workers or limits, beside what was.

        What started in that time arrives again on a simulated clock, runs as long as it did, and
        the engine's own code says what starts when. Nothing runs, and nothing is changed. The
        first 20,000 starts are looked at; ``approximates`` of the answer says what it can't know.

        Args:
            workers: slots by category; the others have those that they have now.
            limits: how many run at most at the same time, by category; ``None``: no limit.
            rates: how many start at most, as ``"100/minute"``, by category; ``None``: no limit.
            since: the begin, as an aware moment, or so long ago: a timedelta, or seconds.
            until: the end, likewise; ``None``: now.

        Raises:
            InvalidCallError: a value can't be what it has to be.
            QueryTimeoutError: it took longer than ``WOPR_TASKS_QUERY_SECONDS``.
            QueryError: the storage has no SQL.
            QueueDisabledError: the queue is switched off.
        """
        what = whatifs.setting(workers, limits, rates)
        return await whatifs.whatif(self._core, what, since, until)

    async def status(self) -> Status:
        """Say whether work flows; if not, why, the most harmful reason first.

        It answers in every state, also where the file is missing, damaged or another process's
        that does not answer: then that is the reason.
        """
        return await status_of(self._core)

    @overload
    async def explain(self, task_id: str) -> Explanation: ...

    @overload
    async def explain(self, *, category: str) -> GroupExplanation: ...

    @overload
    async def explain(self, *, name: str) -> GroupExplanation: ...

    @overload
    async def explain(self, *, flow: str) -> GroupExplanation: ...

    @overload
    async def explain(self, *, schedule: str) -> GroupExplanation: ...

    async def explain(
        self,
        task_id: str | None = None,
        *,
        category: str | None = None,
        name: str | None = None,
        flow: str | None = None,
        schedule: str | None = None,
    ) -> Explanation | GroupExplanation:
        """Say why a task stands where it stands: running, delayed or behind others.

        Args:
            task_id: of a task; or one of the others, why its tasks stand where they stand.
            category: a category of tasks.
            name: a name of tasks.
            flow: the id of a flow.
            schedule: the name of a schedule.

        Raises:
            TaskNotFoundError: the queue does not know the task, or the flow.
            ScheduleNotFoundError: there is no such schedule.
            InvalidCallError: nothing of these was given, or several.
        """
        groups: dict[About, str | None] = {
            "category": category,
            "name": name,
            "flow": flow,
            "schedule": schedule,
        }
        given = {about: target for about, target in groups.items() if target is not None}
        if len(given) + (task_id is not None) != 1:
            raise InvalidCallError(
                "explain() takes the id of a task, or one of category=, name=, flow= and schedule=."
            )
        if task_id is None:
            [(about, target)] = given.items()
            return await self._explain_group(about, check_label(target, about))
        wanted = check_id(task_id)
        found = await self._core.ask(lambda backend: backend.explain(wanted), None)
        if found is None:
            raise self._core.unknown(task_id)
        return found

    async def _explain_group(self, about: About, target: str) -> GroupExplanation:
        found = await self._core.ask(lambda backend: backend.explain_group(about, target), None)
        if found is not None:
            return found
        return GroupExplanation(
            about=about,
            target=target,
            reason="nothing",
            text=f"{self._core.database} has no tasks.",
        )

    async def get_history(self, task_id: str) -> list[HistoryEntry]:
        """Return every transition of a task, in order; empty if it is unknown."""
        wanted = check_id(task_id)
        return await self._core.ask(lambda backend: backend.history(wanted), [])

    async def worker_info(self) -> list[WorkerInfo]:
        """Return the workers of the process that owns the file, by category and name."""
        backend = await self._core.reader()
        return [] if backend is None else await backend.workers()

    async def get_logs(self, task_id: str, limit: int = 10_000) -> list[LogLine]:
        """Return the first lines that a task logged and that were kept, in order."""
        task_id, limit = check_id(task_id), check_count(limit, "limit", most=1_000_000)
        backend = await self._core.reader()
        return [] if backend is None else await backend.logs(task_id, limit)


def _rows(limit: object) -> int | None:
    """Return how many rows an answer may have; ``None``: what the settings say."""
    return None if limit == "setting" else check_count(limit, "limit", least=1)


def _stream_seconds(timeout: object) -> float:
    seconds = check_seconds(timeout, "timeout", zero="refuse")
    if seconds > LONGEST_STREAM:
        raise InvalidCallError(
            f"timeout must be at most {LONGEST_STREAM:,.0f} seconds for a stream, not "
            f"{seconds:,.0f}: it holds a copy of the database. For larger exports there is "
            "wopr backup, whose file can be read for as long as you like."
        )
    return seconds
