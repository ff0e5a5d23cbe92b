"""The verbs of a queue, whoever carries them out.

That is the engine of this process (``access/local.py``), the owner of the file through its socket
(``remote/client.py``), or what comes: **this is what a second engine implements**. What it has to
promise stands here, and not at one of those.

What only an engine *in this process* offers besides, pools, events, what runs right now, is
``access/local.py`` and ``insights/workings.py``, and nobody may need it for a verb.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from wopr.domain.act import Act, ActAnswer, ActProgress, Previewed
from wopr.domain.change import Change, Verb
from wopr.domain.logline import LogLine
from wopr.domain.newtask import NewTask
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.schedule import Schedule
from wopr.domain.selection import Selection
from wopr.domain.standing import View
from wopr.domain.task import TaskRecord
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo
from wopr.ports.status import About, GroupExplanation, Status
from wopr.ports.storage import Done, QueryLimits, Snapshot, TaskFilter


class ScheduleBackend(Protocol):
    """Carries out what a queue is asked about its schedules.

    All raise :class:`StorageError` if it can't be read or written, and all that take a name
    :class:`ScheduleNotFoundError` if there is none. Each answer is on disk.
    """

    async def sync(self, declared: Sequence[Schedule], *, complete: bool) -> None:
        """Bring the rows up to what the code declares."""
        ...

    async def add(self, new: Schedule) -> View:
        """Add a schedule."""
        ...

    async def replace(self, new: Schedule) -> View:
        """Give a schedule another plan."""
        ...

    async def pause(self, name: str, reason: str) -> View:
        """Fire it no more until it is resumed."""
        ...

    async def resume(self, name: str) -> View:
        """Go on with the next occurrence after now."""
        ...

    async def remove(self, name: str) -> None:
        """Delete a schedule."""
        ...

    async def run_now(self, name: str, task_id: str | None = None) -> str:
        """Enqueue one task at once, once per id that the caller made; return its id."""
        ...

    async def all(self) -> list[View]:
        """Return all schedules by name."""
        ...

    async def get(self, name: str) -> View:
        """Return a schedule and what it is doing."""
        ...

    async def tick(self) -> list[str]:
        """Fire what is due; return the ids of the tasks."""
        ...


class RuleBackend(Protocol):
    """Keeps what is set at run time. Each answer is on disk; or it raises :class:`StorageError`."""

    async def all(self, kind: RuleKind) -> list[Rule]:
        """Return the rules of a kind, by name."""
        ...

    async def save(self, rules: Sequence[Rule]) -> None:
        """Add or change rules."""
        ...

    async def merge(self, rule: Rule) -> Rule:
        """Change those fields of a rule that its value has; null takes one away."""
        ...

    async def delete(self, kind: RuleKind, names: Sequence[str]) -> list[Rule]:
        """Delete rules; return those that there were."""
        ...


class ActBackend(Protocol):
    """Does things to the tasks of a selection, and keeps who did what.

    All that take a selection raise :class:`QueryError` if its condition in SQL is none.
    """

    async def preview(self, which: Selection, verb: Verb | None, seconds: float) -> Previewed:
        """Return what a verb would do, without doing it; with ``None`` what is selected."""
        ...

    async def ids(self, which: Selection, limit: int, seconds: float) -> list[str]:
        """Return the ids of selected tasks, in enqueue order."""
        ...

    async def page(
        self, which: Selection, limit: int, cursor: str | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first; after the task ``cursor``, if given.

        It may end with the one that brings it to ``PAGE_BYTES``.

        Raises:
            TaskNotFoundError: there is no task ``cursor``.
        """
        ...

    async def change(
        self, which: Selection, change: Change, key: str, who: str | None, seconds: float
    ) -> ActAnswer:
        """Do what a verb says to the selected tasks. If it is given up, so is what is left.

        ``key`` is what :meth:`progress` knows it by meanwhile. The same call goes on with an act
        that was interrupted.
        """
        ...

    async def progress(self, key: str) -> ActProgress | None:
        """Return how far an act is; ``None`` if it does not go on now."""
        ...

    async def undo(self, number: int, key: str, who: str | None) -> ActAnswer:
        """Take back what can be of an act.

        Raises:
            ActError: there is no such act, or nothing of it can be taken back.
        """
        ...

    async def list(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        ...

    async def asked(self, question: str) -> None:
        """Note that somebody asks in SQL. That it can't be noted is logged, and no error."""
        ...


class AddBackend(Protocol):
    """Adds tasks in a transaction of the application: each call as a whole, or not at all."""

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add tasks; return their ids in order. Errors as in :meth:`Backend.add`."""
        ...

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on each other; return their ids in order."""
        ...


class AtOnce(Protocol):
    """Takes new tasks for which nothing but the disk is waited, without a coroutine."""

    def waits_for_disk_only(self, new: NewTask) -> bool:
        """Whether a task can be handed over just now, with :meth:`add_then`."""
        ...

    def add_then(self, new: NewTask, told: Done, *, alone: bool) -> None:
        """Hand over a task that has its id; tell what came of it, maybe before this returns.

        Args:
            new: the task.
            told: given what went wrong, or ``None`` once it is on disk.
            alone: whether no other task comes in this turn of the loop, as far as is known.
        """
        ...


class Backend(Protocol):
    """Carries out what a :class:`wopr.TaskQueue` is asked.

    A change is on disk when it returns. All raise :class:`StorageError` if the storage fails, and
    :class:`OwnerGoneError` if it is another process's, and that is gone and not followed by
    another owner: then it is not known whether a change was made. A change that was not begun,
    because the owner gives the file up, raises :class:`OwnerLeavingError`.
    """

    @property
    def schedules(self) -> ScheduleBackend:
        """What is asked about schedules."""
        ...

    @property
    def rules(self) -> RuleBackend:
        """What is set at run time."""
        ...

    @property
    def acts(self) -> ActBackend:
        """What is done to many tasks at once, and who did what."""
        ...

    def add(self, new: NewTask) -> Coroutine[Any, Any, str]:
        """Add one task; return its id once it is on disk.

        Raises:
            BacklogFullError: as many wait as may, and the call is not to wait.
            UniqueKeyConflictError: a live task has its key, and that is to be refused.
            TaskNotFoundError: a task that it depends on is not known.
        """
        ...

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add many tasks; return their ids in order. Errors as in :meth:`add`."""
        ...

    async def check_room(self, counts: Mapping[str, int]) -> None:
        """Refuse so many tasks by category, where a backlog is full and does so.

        Raises:
            BacklogFullError: they would be too many.
        """
        ...

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on each other in one commit; return their ids in order.

        All or none are there. Errors as in :meth:`add`.
        """
        ...

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task as it is on disk; ``None`` if it is unknown."""
        ...

    async def find(self, query: TaskFilter, cursor: str | None) -> list[TaskRecord]:
        """Return matching tasks, newest first; after the task ``cursor``, if given.

        Raises:
            TaskNotFoundError: there is no task ``cursor``.
        """
        ...

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return a task once it has ended.

        Raises:
            TaskNotFoundError: there is no such task.
            TimeoutError: it did not end in so many seconds.
        """
        ...

    async def cancel(self, task_id: str, reason: str | None = None) -> bool:
        """Cancel a live task; ``False`` if it has ended or is unknown."""
        ...

    async def revoke(self, rule: Rule) -> int:
        """Cancel the live tasks that a revocation is about; return how many."""
        ...

    async def retry(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue with a new budget; ``False`` for any other."""
        ...

    async def recover(self, category: str | None) -> int:
        """Decide about STARTED tasks that nobody runs; return how many there were."""
        ...

    async def add_workers(self, category: str, count: int) -> int:
        """Add workers to the process that runs them; return how many of the category it has.

        Raises:
            InvalidCallError: it runs none, or would have too many.
        """
        ...

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment (naive UTC); return how many."""
        ...

    async def archive(self, before: datetime, directory: Path | None) -> tuple[int, bool]:
        """Archive, for some seconds, what ended until then; return how many, and if that is all.

        Raises:
            StorageFileError: there is no archive, or another one than ``directory``.
        """
        ...

    async def stats(self) -> dict[str, Any]:
        """Return exact counts."""
        ...

    async def status(self, *, brief: bool = False) -> Status:
        """Return whether work flows and why not; ``brief``, without what the past says."""
        ...

    async def explain_group(self, about: About, target: str) -> GroupExplanation:
        """Say why tasks of a category, a name, a flow or a schedule stand where they stand.

        Raises:
            TaskNotFoundError: there is no such flow.
            ScheduleNotFoundError: there is no such schedule.
        """
        ...

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        ...

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return a task's transitions in order; empty if it is unknown."""
        ...

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that a task logged, in order."""
        ...

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers by category and name."""
        ...

    async def sql(self, query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        """Run one read-only query; it sees every change before it.

        Args:
            query: its text.
            params: the values of ``?``, in order.
            limits: those of whoever asks, wherever it is carried out.

        Raises:
            QueryError: it was refused, or it failed.
            QueryTimeoutError: it took too long.
        """
        ...

    async def backup(self) -> Snapshot:
        """Return a copy of the database as of now; whoever asks takes it away."""
        ...

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Return a copy of the database to ask in another process, some seconds old at most.

        Args:
            own: of now, and only the caller's, who deletes its folder.
        """
        ...


@runtime_checkable
class AsksApart(Protocol):
    """A backend that asks what somebody typed itself, as the file is elsewhere."""

    async def typed_sql(
        self, query: str, params: Sequence[Any], limits: QueryLimits
    ) -> QueryResult:
        """Run one read-only query apart, on a copy of the database of which it tells the moment."""
        ...
