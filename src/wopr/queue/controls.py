"""What an operator sets at run time: limits, pauses, revocations. All of it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from wopr.domain.checks import check_count, check_id, check_label
from wopr.domain.clock import naive_now
from wopr.domain.controls import Pause, Revocation, check_where
from wopr.domain.errors import InvalidCallError
from wopr.domain.leftout import LEFT_OUT
from wopr.domain.limits import Limit, OnFull, changed, check_expression, check_fields
from wopr.domain.rule import Rule, RuleKind
from wopr.queue.face import Face
from wopr.storage import absolute

KEEP: Any = LEFT_OUT
"""Leave this field of a limit as it is."""


class Controls(Face):
    """Changes of tasks; limits, pauses and revocations of a queue."""

    # -- tasks ----------------------------------------------------------------

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a waiting or running task; ``False`` if it has ended or is unknown.

        A running coroutine is cancelled. A running sync function can't be stopped: it
        sees ``current_task().cancelled``, and what it returns is ignored.
        """
        return await self._core.cancel(task_id)

    async def retry_task(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue with a new retry budget; else ``False``.

        One that waits because it does not fit its function is tried again.
        """
        return await self._core.ask(lambda backend: backend.retry(check_id(task_id)), False)

    async def cleanup_old_tasks(
        self,
        days: int | None = None,
        months: int | None = None,
        years: int | None = None,
        *,
        keep_history: bool = False,
    ) -> int:
        """Delete tasks that ended longer ago than the periods together; return how many.

        Args:
            days: ``0`` deletes all that have ended.
            months: of 30 days.
            years: of 365 days.
            keep_history: keep their transitions.

        Nothing given deletes nothing. Tasks that say how long they are kept (``retain=``) stay
        until that is over.
        """
        age = _age(days, months, years)
        backend = None if age is None else await self._core.reader()
        if age is None or backend is None:
            return 0
        before = naive_now(self._core.time) - age
        return await backend.cleanup(before, keep_history=keep_history)

    async def archive_old_tasks(
        self,
        days: int | None = None,
        months: int | None = None,
        years: int | None = None,
        *,
        directory: str | Path | None = None,
    ) -> int:
        """Archive tasks that ended longer ago than the periods together; return how many.

        They are written to ``WOPR_TASKS_ARCHIVE`` as Parquet files, with their transitions and
        log lines, and then deleted from the file. Questions span both. Whatever happens in
        between, nothing is lost and nothing is there twice.

        Args:
            days: ``0`` archives all that have ended.
            months: of 30 days.
            years: of 365 days.
            directory: what the archive has to be; else nothing is archived.

        Nothing given archives nothing.

        Raises:
            StorageFileError: there is no archive, or another one, or it can't be written.
        """
        place = None if directory is None else absolute(directory)
        age = _age(days, months, years)
        backend = None if age is None else await self._core.reader()
        if age is None or backend is None:
            return 0
        before = naive_now(self._core.time) - age
        total, complete = 0, False
        while not complete:
            count, complete = await backend.archive(before, place)
            total += count
        return total

    async def recover_tasks(self, category: str | None = None) -> int:
        """Put tasks that a dead process left STARTED back in the queue; return how many.

        Opening the queue does it by itself; calling it again runs nothing twice.
        """
        if category is not None:
            category = check_label(category, "category")
        backend = await self._core.reader()
        return await backend.recover(category) if backend else 0

    # -- limits ---------------------------------------------------------------

    async def set_limit(
        self,
        category: str,
        *,
        task: str | None = None,
        key: str | None = None,
        concurrency: int | None = KEEP,
        rate: str | tuple[int, float | timedelta] | None = KEEP,
        fair_by: str | None = KEEP,
        aging: float | timedelta | None = KEEP,
        backlog: int | None = KEEP,
        on_full: OnFull = KEEP,
    ) -> Limit:
        """Set limits of a category, of a task or each key inside of it; from now on, and durable.

        What is not given stays as it is; ``None`` takes a limit away. What is set here counts,
        whatever the code declares.

        Args:
            category: need not have any tasks yet.
            task: a name: ``concurrency`` and ``rate`` then count for its tasks in the category,
                as those of ``@queue.task(limit=…, rate=…)`` do.
            key: an expression (JMESPath) over the arguments, like ``"customer"`` or
                ``"order.customer.id"``: ``concurrency`` and ``rate`` then count for each of its
                values. A call for which it gives nothing is not limited by it.
            concurrency: so many tasks run at most at the same time.
            rate: so many tasks start at most in any span of a period: ``"100/minute"``,
                ``"5/2s"``, ``(100, 60.0)``.
            fair_by: an expression; tasks with different values of it take turns, whatever
                their priorities. Off by default.
            aging: a waiting task gains one level of priority per so many seconds, so that LOW
                is never starved. Off by default.
            backlog: so many tasks wait at most.
            on_full: what an enqueue does when they do: ``WAIT`` until there is room, ``REFUSE``
                with :class:`BacklogFullError`, or ``DROP_OLDEST``: cancel those enqueued first.

        Returns the limit as it is now.

        Raises:
            InvalidCallError: a value can't be what it has to be.
            QueueDisabledError: the queue is switched off.
            StorageError: nothing has changed.
        """
        given = {
            "concurrency": concurrency,
            "rate": rate,
            "fair_by": fair_by,
            "aging": aging,
            "backlog": backlog,
            "on_full": on_full,
        }
        changes = check_fields({name: value for name, value in given.items() if value is not KEEP})
        wanted = changed(_limit(category, task, key), changes)
        backend = await self._core.writer()
        rule = Rule(
            RuleKind.LIMIT, wanted.name, wanted.changes_to_json(changes), self._core.time.now()
        )
        limit = Limit.from_json((await backend.rules.merge(rule)).value)
        if limit.empty:
            await backend.rules.delete(RuleKind.LIMIT, [limit.name])
        return limit

    async def remove_limit(
        self, category: str, key: str | None = None, *, task: str | None = None
    ) -> bool:
        """Take all limits of a category, or of a task or a key inside of it, away.

        Returns whether there were any. Those that the code declares don't come back either, until
        they are set to what it says.
        """
        limit = _limit(category, task, key)
        backend = await self._core.writer()
        named = [one for one in await self.limits() if one.name == limit.name]
        if any(one.place != limit.place for one in named):
            return False  # something else's: see check_place
        return bool(await backend.rules.delete(RuleKind.LIMIT, [limit.name]))

    async def limits(self) -> list[Limit]:
        """Return all limits, by category, task and key, with what the code declares."""
        return [Limit.from_json(rule.value) for rule in await self._stored(RuleKind.LIMIT)]

    # -- pause ----------------------------------------------------------------

    async def pause(
        self, category: str | None = None, *, task: str | None = None, reason: str = "by hand"
    ) -> None:
        """Start no more tasks of a category, or of a name, until :meth:`resume`.

        What runs goes on, and so does what is being claimed at this moment. It lasts over
        restarts.

        Raises:
            InvalidCallError: not exactly one of the two is given.
            QueueDisabledError: the queue is switched off.
            StorageError: nothing has changed.
        """
        pause = Pause(
            **_one(category, task),
            reason=check_label(reason, "reason", longest=1_000),
            since=self._core.time.now(),
        )
        backend = await self._core.writer()
        await backend.rules.save([replace(pause, since=self._core.time.now()).to_rule()])

    async def resume(self, category: str | None = None, *, task: str | None = None) -> bool:
        """Start tasks of a category, or of a name, again; whether it was paused."""
        pause = Pause(**_one(category, task), since=self._core.time.now())
        backend = await self._core.writer()
        return bool(await backend.rules.delete(RuleKind.PAUSE, [pause.name]))

    async def pauses(self) -> list[Pause]:
        """Return what is paused."""
        return [Pause.from_rule(rule) for rule in await self._stored(RuleKind.PAUSE)]

    # -- revoke ---------------------------------------------------------------

    async def revoke(
        self,
        task_id: str | None = None,
        *,
        task: str | None = None,
        where: Mapping[str, Any] | None = None,
        standing: bool = False,
        reason: str = "revoked",
    ) -> int:
        """Cancel waiting and running tasks, by id, by name, or by what they were called with.

        Args:
            task_id: of one task.
            task: the name of the tasks.
            where: only those whose arguments are so: an expression (JMESPath), usually the name
                of a parameter, and the value that it has to give.
            standing: go on with it: tasks of this name that are enqueued later are cancelled
                instead of started, until :meth:`unrevoke`; also after a restart.
            reason: is in the history of each.

        Returns how many were cancelled now.

        Raises:
            InvalidCallError: neither or both of id and name are given, or an expression is wrong.
            QueueDisabledError: the queue is switched off.
            StorageError: some of them may be cancelled already.
        """
        if (task_id is None) == (task is None) or (task is None and (where or standing)):
            raise InvalidCallError(
                "revoke() takes the id of one task, or task= with a name and then also where= and "
                "standing=."
            )
        reason = check_label(reason, "reason", longest=1_000)
        backend = await self._core.writer()
        if task_id is not None:
            return int(await backend.cancel(check_id(task_id), reason))
        revocation = Revocation(
            task=check_label(task, "task"),
            where=check_where(where or {}),
            reason=reason,
            since=self._core.time.now(),
        )
        rule = revocation.to_rule()
        if not standing:
            return await backend.revoke(rule)
        await backend.rules.save([rule])
        try:
            return await backend.revoke(rule)
        except InvalidCallError:  # nothing is kept of what was refused
            await backend.rules.delete(RuleKind.REVOCATION, [rule.name])
            raise

    async def unrevoke(self, task: str, where: Mapping[str, Any] | None = None) -> bool:
        """End a standing revocation; whether there was one. What it cancelled stays cancelled."""
        found = Revocation(
            task=check_label(task, "task"),
            where=check_where(where or {}),
            since=self._core.time.now(),
        )
        backend = await self._core.writer()
        return bool(await backend.rules.delete(RuleKind.REVOCATION, [found.name]))

    async def revocations(self) -> list[Revocation]:
        """Return the standing revocations."""
        return [Revocation.from_rule(rule) for rule in await self._stored(RuleKind.REVOCATION)]

    # -- the foreground ---------------------------------------------------------

    def foreground(self) -> AbstractAsyncContextManager[None]:
        """Hold background categories back: ``async with queue.foreground(): …``.

        While it is held anywhere in this process, categories that were declared with
        ``queue.category(name, background=True)`` start no tasks; what runs goes on.
        """
        return self._core.access.foreground.hold()

    # -- inside ---------------------------------------------------------------

    async def _stored(self, kind: RuleKind) -> list[Rule]:
        backend = await self._core.reader()
        return [] if backend is None else await backend.rules.all(kind)


def _limit(category: str, task: str | None, key: str | None) -> Limit:
    return Limit(
        category=check_label(category, "category"),
        task=None if task is None else check_label(task, "task"),
        key=None if key is None else check_expression(key, "key"),
    )


def _one(category: str | None, task: str | None) -> dict[str, str]:
    if (category is None) == (task is None):
        raise InvalidCallError(
            "Name a category or a task, not both: queue.pause('mail') or "
            "queue.pause(task='send_mail')."
        )
    if category is not None:
        return {"category": check_label(category, "category")}
    return {"task": check_label(task, "task")}


def _age(days: int | None, months: int | None, years: int | None) -> timedelta | None:
    """Return how long that is; ``None`` if nothing is given."""
    given = [
        (check_count(value, name, most=100_000), factor)
        for value, name, factor in (
            (days, "days", 1),
            (months, "months", 30),
            (years, "years", 365),
        )
        if value is not None
    ]
    if not given:
        return None
    return timedelta(days=min(sum(value * factor for value, factor in given), 700_000))
