"""One queue as it was at a moment: ``queue.as_of(moment)``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from wopr.core.core import Core
from wopr.domain.checks import check_count, check_id, check_moment, check_seconds, is_task_id
from wopr.domain.clock import naive_now
from wopr.domain.controls import Pause
from wopr.domain.errors import InvalidCallError, QueryError, TaskNotFoundError
from wopr.domain.jsontext import shown
from wopr.domain.pausing import pauses_at
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.selection import Selection, select
from wopr.domain.spoken import aware, local
from wopr.domain.status import CLAIMABLE, TaskStatus
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.domain.written import UNREADABLE, record_after, transition_from_row
from wopr.insights import pastqueries, queries
from wopr.insights.pastqueries import having
from wopr.ports.answers import HistoryEntry, WorkerInfo
from wopr.ports.asof import CategoryBacklog, PastStatus
from wopr.ports.cut import Cut, why_cut
from wopr.ports.storage import QueryLimits

IDLE = timedelta(hours=1)
"""Who has taken a task so long before a moment, and runs none, counts as a worker then."""
MOST_TASKS = 10_000
PAGE = 200
"""So many histories are read together."""
MOST_ROWS = 1_000_000

_SELECTED = (pastqueries.SELECTED, pastqueries.SELECTED_NARROWLY)

Row = tuple[Any, ...]
Several = str | Iterable[str]
When = datetime | float | timedelta


class Past:
    """A queue as it was at a moment, by its history in the file and the archive.

    It has the reads of a queue under the same names. What was deleted since is not known any
    more: ``gone_until`` of :meth:`status` says until when that may be so. How far a running task
    was, and which workers were idle for more than an hour, no history tells.

    They raise:
        QueryError: the storage has no SQL, or the answer takes too long.
        StorageError: it can't be read.
    """

    def __init__(
        self, core: Core, moment: datetime, settled: Callable[[datetime], datetime] | None = None
    ) -> None:
        self._core = core
        self._at = moment
        self._settled = settled
        """Makes of it what is meant, where it was said before the time there was known."""

    def __repr__(self) -> str:
        return f"<the queue as of {local(self._at)}>"

    @property
    def moment(self) -> datetime:
        """The moment; aware, in UTC."""
        return self._at.replace(tzinfo=UTC)

    async def get_task_stats(self) -> dict[str, Any]:
        """Return exact counts: total, by_status, by_category, running and queued."""
        by_status: dict[str, int] = {}
        by_category: dict[str, int] = {}
        for status, category, count in await self._ask(pastqueries.COUNTS):
            by_status[status] = by_status.get(status, 0) + count
            by_category[category] = by_category.get(category, 0) + count
        return {
            "total": sum(by_status.values()),
            "by_status": by_status,
            "by_category": by_category,
            "running": by_status.get(TaskStatus.STARTED.value, 0),
            "queued": sum(by_status.get(one.value, 0) for one in CLAIMABLE),
        }

    async def waiting(self) -> list[tuple[str, str, int]]:
        """Return how many tasks waited, for whatever reason, by category and name."""
        return [(row[0], row[1], row[2]) for row in await self._ask(pastqueries.WAITING)]

    async def backlog(self) -> list[CategoryBacklog]:
        """Return what waited, was due and ran, by category."""
        return [
            CategoryBacklog(
                category, waiting, due, running, since and (self._at - since).total_seconds()
            )
            for category, waiting, due, running, since in await self._ask(pastqueries.BACKLOG)
        ]

    async def status(
        self,
        *,
        backlog: Sequence[CategoryBacklog] | None = None,
        workers: Sequence[WorkerInfo] | None = None,
    ) -> PastStatus:
        """Return how much waited and ran, on how many workers, and what was paused.

        Args:
            backlog: the answer of :meth:`backlog`, where that is known already.
            workers: the answer of :meth:`worker_info`, where that is known already.
        """
        backlog = await self.backlog() if backlog is None else backlog
        workers = await self.worker_info() if workers is None else workers
        gone, _ = await self._rows(queries.GONE_UNTIL)
        until = gone[0][0] if gone else None
        return PastStatus(
            moment=self.moment,
            waiting=sum(one.waiting for one in backlog),
            due=sum(one.due for one in backlog),
            running=sum(one.running for one in backlog),
            workers=len(workers),
            backlog=tuple(backlog),
            pauses=tuple(await self.pauses()),
            gone_until=None if until is None else aware(until),
        )

    async def pauses(self) -> list[Pause]:
        """Return which categories and names were paused, by name."""
        told = [(row[0], row[1], row[2]) for row in await self._ask(pastqueries.PAUSING)]
        nothing: list[Rule] = []
        rules = await self._core.ask(lambda backend: backend.rules.all(RuleKind.PAUSE), nothing)
        return pauses_at(told, rules, self.moment)

    async def worker_info(self) -> list[WorkerInfo]:
        """Return the workers that ran something, or had done so within the hour before.

        ``heartbeat_at`` is the last sign that the history has of one.
        """
        running = {row[0]: row[1:] for row in await self._ask(pastqueries.RUNNING)}
        claims = {row[0]: row[1:] for row in await self._ask(pastqueries.CLAIMS, self._at - IDLE)}
        found = []
        for name in {**running, **claims}:
            category, task_id, task, attempt, since = running.get(name) or (None,) * 5
            known, claimed, seen = claims.get(name) or (category, since, since)
            found.append(
                WorkerInfo(
                    name=name,
                    category=category or known,
                    task_id=task_id,
                    task_name=task,
                    attempt=attempt,
                    since=None if since is None else aware(since),
                    last_claim_at=None if claimed is None else aware(claimed),
                    heartbeat_at=aware(seen),
                )
            )
        return sorted(found, key=attrgetter("category", "name"))

    # -- tasks ----------------------------------------------------------------

    async def get_task_info(self, task_id: str) -> TaskInfo | None:
        """Return a snapshot of a task as it was; ``None`` if it was not there yet, or is gone."""
        found = await self._records([check_id(task_id)])
        return self._core.info_of(found[0]) if found else None

    async def require_task_info(self, task_id: str) -> TaskInfo:
        """Return a snapshot of a task as it was.

        Raises:
            TaskNotFoundError: it was not there yet, or is gone.
        """
        found = await self.get_task_info(task_id)
        if found is None:
            raise TaskNotFoundError(
                f"There was no task {task_id!r} at {local(self._at)}, as far as is known now. "
                f"When it was enqueued, if it was: wopr tasks history {task_id}"
            )
        return found

    async def get_history(self, task_id: str) -> list[HistoryEntry]:
        """Return the transitions of a task until the moment, in order."""
        wanted = check_id(task_id)
        await self._settle()
        until = self.moment
        nothing: list[HistoryEntry] = []
        found = await self._core.ask(lambda backend: backend.history(wanted), nothing)
        return [one for one in found if one.occurred_at <= until]

    async def get_tasks(
        self,
        category: Several | None = None,
        status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
        name: Several | None = None,
        limit: int = 100,
        cursor: str | None = None,
        *,
        since: When | None = None,
        until: When | None = None,
        flow_id: str | None = None,
        schedule: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        ids: Several | None = None,
        condition: str | None = None,
    ) -> list[TaskInfo]:
        """Return tasks as they were, newest first; all conditions that are given hold.

        Args:
            category: of this category then, or of one of several.
            status: in this status then, or in one of several.
            name: of this task, or of one of several.
            limit: at most so many; 10,000 at most.
            cursor: the id of the last task of the page before.
            since: enqueued at this moment or later; or so many seconds before that of this past.
            until: enqueued before this moment; or earlier than so many seconds before.
            flow_id: of this flow.
            schedule: enqueued by this schedule.
            tag: with this tag.
            error: whose newest failure until then says this, but for numbers.
            ids: only these, by their whole ids.
            condition: in SQL over the columns of ``tasks`` as they were.

        Raises:
            InvalidCallError: a value can't be what it has to be.
        """
        given = {
            "category": category,
            "status": status,
            "name": name,
            "since": since,
            "until": until,
            "flow": flow_id,
            "schedule": schedule,
            "tag": tag,
            "error": error,
            "ids": ids,
            "where": condition,
        }
        await self._settle()
        which = selection_of(given, self._at)
        most = check_count(limit, "limit", least=1, most=MOST_TASKS)
        before = None if cursor is None else await self._seq_of(check_id(cursor))
        rows = await self.selected(which, _SELECTED, before, most)
        ids = [str(task_id) for _, task_id in rows]
        records: list[TaskRecord] = []
        for start in range(0, len(ids), PAGE):
            records += await self._records(ids[start : start + PAGE])
        return self._core.infos_of(records)

    async def selected(
        self, which: Selection, questions: tuple[str, str], before: int | None, most: int
    ) -> list[Row]:
        """Return what is asked about a selection: with ids, or an error, the second question."""
        values: list[Any] = [
            list(which.name) or None,
            list(which.category) or None,
            [one.value for one in which.status] or None,
            which.since,
            which.until,
            which.flow,
            which.schedule,
            which.tag,
            before,
            most,
        ]
        question, narrowly = questions
        if which.ids is not None or which.error is not None:
            question = narrowly
            values += [None if which.ids is None else list(which.ids), which.error]
        if which.where is not None:
            question = having(question, which.where)
        return await self._ask(question, *values)

    async def _seq_of(self, task_id: str) -> int:
        found = await self._records([task_id])
        if not found:
            raise TaskNotFoundError(
                f"There was no task {task_id!r} at {local(self._at)}, so there is no page after it."
            )
        return found[0].seq

    async def _records(self, ids: Sequence[str]) -> list[TaskRecord]:
        """Return tasks as their transitions left them, in the order of their ids here."""
        ids = [one for one in ids if is_task_id(one)]
        if not ids:
            return []
        ends = min(ids), max(ids)
        await self._settle()
        rows, cut = await self._rows(pastqueries.HISTORIES, self._at, ids, *ends)
        if cut is not None and len(ids) > 1:  # larger than one answer: fewer of them
            half = len(ids) // 2
            return [*await self._records(ids[:half]), *await self._records(ids[half:])]
        found: dict[str, TaskRecord] = {}
        for task_id, own in itertools.groupby(sorted(rows, key=_task), key=_task):
            try:
                record = record_after(map(transition_from_row, own))
            except UNREADABLE as error:
                raise QueryError(f"The history of task {task_id} can't be read: {error}") from error
            if record is not None:
                found[task_id] = record
        return [found[one] for one in ids if one in found]

    # -- asking ---------------------------------------------------------------

    async def _settle(self) -> None:
        if self._settled is not None:
            await self._core.reader()
        if self._settled is not None:  # by nobody meanwhile
            self._at, self._settled = self._settled(self._at), None

    async def _ask(self, question: str, *params: Any) -> list[Row]:
        await self._settle()
        rows, cut = await self._rows(question, self._at, *params)
        if cut is not None:
            raise QueryError(
                f"{why_cut(cut, len(rows))} Counts of a part would be too low, so nothing is told. "
                "Are there as many names of tasks? A name should say what a task does, and its "
                "arguments to what."
            )
        return rows

    async def _rows(self, question: str, *params: Any) -> tuple[list[Row], Cut | None]:
        settings = self._core.settings
        limits = QueryLimits(settings.query_seconds, MOST_ROWS, archive=settings.archive)
        answer = await self._core.ask(lambda backend: backend.sql(question, params, limits), None)
        return ([], None) if answer is None else (list(answer.rows), answer.cut)


def _task(row: Row) -> str:
    return str(row[1])


def selection_of(given: Mapping[str, Any], moment: datetime) -> Selection:
    """Return the selection of what a call gave; its ids are whole.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    found = select(given, moment)
    for task_id in (*(found.ids or ()), *([found.flow] if found.flow else ())):
        if not is_task_id(task_id):
            raise InvalidCallError(
                f"{shown(task_id)} is no whole id. What was at a moment is asked by whole ids: "
                "wopr tasks list --json"
            )
    return found


def past_of(core: Core, moment: object) -> Past:
    """Return a queue as it was at an aware moment, or so many seconds ago.

    Raises:
        InvalidCallError: it is neither, or the moment has not come.
    """
    said = isinstance(moment, datetime)  # else it is so long before what the clock here shows
    if isinstance(moment, datetime):
        found = check_moment(moment, "moment")
    else:
        ago = timedelta(seconds=check_seconds(moment, "moment", zero="allow"))
        found = naive_now(core.clock) - ago

    def settled(at: datetime) -> datetime:
        there = at if said else core.time.of(aware(at)).replace(tzinfo=None)
        if there > (now := naive_now(core.time)):
            raise InvalidCallError(
                f"moment is {local(there)}, which has not come: it is {local(now)}. What is to "
                "come: queue.eta(), queue.schedules.preview()."
            )
        return there

    return Past(core, settled(found)) if core.time.known else Past(core, found, settled)
