"""Selections of tasks, with verbs over them; and acts: who did what, and taking it back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from wopr.core.core import Core
from wopr.core.tasks import OnProgress, SelectedTasks, selected, told, who
from wopr.domain.act import Act, ActAnswer
from wopr.domain.checks import check_count
from wopr.domain.clock import new_identity
from wopr.domain.status import TaskStatus
from wopr.domain.stored import MOST
from wopr.queue.face import Face

Several = str | Iterable[str]
When = datetime | float | timedelta


class Tasks:
    """The tasks of a queue: ``queue.tasks.where(…)`` selects some of them."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def where(
        self,
        condition: str | None = None,
        *,
        name: Several | None = None,
        category: Several | None = None,
        status: TaskStatus | str | Iterable[TaskStatus | str] | None = None,
        since: When | None = None,
        until: When | None = None,
        flow: str | None = None,
        schedule: str | None = None,
        tag: str | None = None,
        error: str | None = None,
        ids: Several | None = None,
    ) -> SelectedTasks:
        """Select tasks: all conditions that are given hold; of several values one is enough.

        Args:
            condition: in SQL over the columns of ``tasks``; it runs as :meth:`TaskQueue.sql` does.
            name: of the task.
            category: where it waits, or waited.
            status: where it stands.
            since: enqueued at this moment or later; or so many seconds ago at most.
            until: enqueued before this moment; or more than so many seconds ago.
            flow: the id of its flow.
            schedule: the schedule that enqueued it.
            tag: one of its tags.
            error: what its newest failure says, but for numbers: a ``fingerprint`` of the view
                ``failures``, or the text of an error.
            ids: whole, or their beginnings as far as those are of one task.

        Raises:
            InvalidCallError: a value can't be what it has to be.
        """
        return selected(
            self._core,
            where=condition,
            name=name,
            category=category,
            status=status,
            since=since,
            until=until,
            flow=flow,
            schedule=schedule,
            tag=tag,
            error=error,
            ids=ids,
        )


class Acting(Face):
    """Verbs over selections, and acts."""

    @property
    def tasks(self) -> Tasks:
        """The tasks: ``queue.tasks.where(status="failed", name="import").retry()``."""
        return Tasks(self._core)

    async def acts(self, limit: int = 100, *, before: int | None = None) -> list[Act]:
        """Return what operators did, the newest first: who, from where, when, to what and why.

        Args:
            limit: at most so many.
            before: only those with a lower number, for the next page.
        """
        most = check_count(limit, "limit", most=1_000_000)
        after = None if before is None else check_count(before, "before", most=MOST)
        return await self._core.ask(lambda backend: backend.acts.list(most, after), [])

    async def undo(self, act: int, *, on_progress: OnProgress | None = None) -> ActAnswer:
        """Take back what can be of an act: a cancel, a priority, a move or a delay.

        Of tasks that have not run since; the answer says which it could not, and why.

        Args:
            act: its number.
            on_progress: is called with a :class:`ActProgress` now and then.

        Raises:
            ActError: there is no such act, or nothing of it can be taken back.
            QueueDisabledError: the queue is switched off.
            StorageError: some of it may be taken back already; repeat it.
        """
        number = check_count(act, "act", least=1, most=MOST)
        backend = await self._core.writer()
        key = new_identity().hex()
        return await told(backend, key, backend.acts.undo(number, key, who()), on_progress)
