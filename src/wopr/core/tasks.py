"""The tasks of a selection: look at them, and change all of them with one call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, overload

from wopr.auth.context import current_auth_context
from wopr.core.core import Core
from wopr.domain.act import ActAnswer, ActProgress, Preview
from wopr.domain.change import Change, Verb
from wopr.domain.checks import (
    check_count,
    check_id,
    check_label,
    check_moment,
    check_priority,
    check_seconds,
)
from wopr.domain.clock import naive_now, new_identity
from wopr.domain.errors import InvalidCallError
from wopr.domain.selection import Selection, select
from wopr.domain.status import TaskPriority
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.ports.backend import Backend
from wopr.ports.storage import PAGE_BYTES, weight

T = TypeVar("T")

MOST_IDS = 1_000_000
LOOK_SECONDS = 0.25
"""So often it is asked how far an act is, for who wants to be told."""

OnProgress = Callable[[ActProgress], None]


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A page of tasks, newest first."""

    tasks: tuple[TaskInfo, ...]
    next: str | None
    """The ``cursor`` of the next page; ``None``: there is none."""


def ends_early(found: list[TaskRecord], limit: int) -> bool:
    """Whether there may be more tasks than a page of so many."""
    return len(found) == limit or sum(map(weight, found)) >= PAGE_BYTES


class SelectedTasks:
    """The tasks of a selection, as of each call.

    The verbs change those of them that they can: ``cancel`` what has not ended, ``retry`` what has
    failed, ``run_again`` what succeeded or was cancelled, ``set_priority``, ``move`` and ``delay``
    what waits. Each change is a transition in the task's history, and the call a row of ``acts``.
    They work in batches; one that is interrupted goes on when it is repeated. All of them take:

    ``dry_run``: change nothing, and return what would be changed: a :class:`Preview`.
    ``reason``: for those who look later.
    ``on_progress``: is called with a :class:`ActProgress` now and then.

    They raise:
        InvalidCallError: nothing at all says which tasks.
        QueryError: the condition in SQL is none.
        QueueDisabledError: the queue is switched off.
        StorageError: some of them may be changed already.
    """

    def __init__(self, core: Core, selection: Selection) -> None:
        self._core = core
        self._selection = selection

    def __repr__(self) -> str:
        return f"<tasks of {self._selection.to_json()}>"

    # -- look -----------------------------------------------------------------

    async def count(self) -> int:
        """Return how many tasks are selected."""
        return (await self._preview(None)).selected

    async def tally(self) -> Preview:
        """Return how many tasks are selected, by name and status."""
        return await self._preview(None)

    async def ids(self) -> list[str]:
        """Return the ids of the selected tasks, in enqueue order.

        Raises:
            InvalidCallError: there are more than a million.
        """
        nothing: list[str] = []
        found = await self._core.ask(
            lambda backend: backend.acts.ids(self._selection, MOST_IDS, self._seconds), nothing
        )
        if len(found) == MOST_IDS:
            raise InvalidCallError(
                f"The selection has {MOST_IDS:,} tasks or more, whose ids are not listed at once. "
                "Narrow it with since= and until=."
            )
        return found

    async def page(self, limit: int = 100, cursor: str | None = None) -> TaskPage:
        """Return selected tasks, newest first; of a selection without conditions, of all tasks.

        Args:
            limit: at most so many.
            cursor: ``next`` of the page before.

        Raises:
            TaskNotFoundError: the task of the cursor is not there any more.
        """
        found = await self.records(limit, cursor)
        more = found[-1].id if ends_early(found, limit) else None
        return TaskPage(tuple(self._core.infos_of(found)), more)

    async def records(self, limit: int, cursor: str | None) -> list[TaskRecord]:
        """Return the same as it is stored; :func:`ends_early` says whether there may be more."""
        most = check_count(limit, "limit", least=1, most=10_000)
        after = None if cursor is None else check_id(cursor)
        nothing: list[TaskRecord] = []
        return await self._core.ask(
            lambda backend: backend.acts.page(self._selection, most, after, self._seconds), nothing
        )

    # -- change ---------------------------------------------------------------

    @overload
    async def cancel(self, *, dry_run: Literal[True], reason: str | None = None) -> Preview: ...
    @overload
    async def cancel(
        self, *, reason: str | None = None, on_progress: OnProgress | None = None
    ) -> ActAnswer: ...
    async def cancel(
        self,
        *,
        dry_run: bool = False,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer | Preview:
        """Cancel those that wait or run."""
        return await self._do(Verb.CANCEL, dry_run, reason, on_progress)

    @overload
    async def retry(self, *, dry_run: Literal[True], reason: str | None = None) -> Preview: ...
    @overload
    async def retry(
        self, *, reason: str | None = None, on_progress: OnProgress | None = None
    ) -> ActAnswer: ...
    async def retry(
        self,
        *,
        dry_run: bool = False,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer | Preview:
        """Put FAILED ones back in their queue with a new budget, and those that do not fit."""
        return await self._do(Verb.RETRY, dry_run, reason, on_progress)

    @overload
    async def run_again(self, *, dry_run: Literal[True], reason: str | None = None) -> Preview: ...
    @overload
    async def run_again(
        self, *, reason: str | None = None, on_progress: OnProgress | None = None
    ) -> ActAnswer: ...
    async def run_again(
        self,
        *,
        dry_run: bool = False,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer | Preview:
        """Enqueue a new task for each that succeeded or was cancelled; ``again_of`` names the old.

        The new one has the same arguments and options; it is due at once, and of no flow.
        """
        return await self._do(Verb.RUN_AGAIN, dry_run, reason, on_progress)

    @overload
    async def set_priority(
        self, priority: TaskPriority, *, dry_run: Literal[True], reason: str | None = None
    ) -> Preview: ...
    @overload
    async def set_priority(
        self,
        priority: TaskPriority,
        *,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer: ...
    async def set_priority(
        self,
        priority: TaskPriority,
        *,
        dry_run: bool = False,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer | Preview:
        """Give those that wait another priority."""
        urgency = check_priority(priority)
        return await self._do(Verb.SET_PRIORITY, dry_run, reason, on_progress, priority=urgency)

    @overload
    async def move(
        self, category: str, *, dry_run: Literal[True], reason: str | None = None
    ) -> Preview: ...
    @overload
    async def move(
        self, category: str, *, reason: str | None = None, on_progress: OnProgress | None = None
    ) -> ActAnswer: ...
    async def move(
        self,
        category: str,
        *,
        dry_run: bool = False,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer | Preview:
        """Let those that wait do so in another category; its backlog may become larger than it may.

        They keep their place by the time at which they were enqueued.
        """
        place = check_label(category, "category")
        return await self._do(Verb.MOVE, dry_run, reason, on_progress, category=place)

    @overload
    async def delay(
        self, until: When, *, dry_run: Literal[True], reason: str | None = None
    ) -> Preview: ...
    @overload
    async def delay(
        self, until: When, *, reason: str | None = None, on_progress: OnProgress | None = None
    ) -> ActAnswer: ...
    async def delay(
        self,
        until: When,
        *,
        dry_run: bool = False,
        reason: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ActAnswer | Preview:
        """Let those that wait start no sooner than an aware moment, or than in so many seconds.

        With 0 they are due at once.
        """
        if not isinstance(until, datetime) and self._core.enabled:
            await self._core.access.learn_time()
        moment = _due(until, naive_now(self._core.access.time))
        return await self._do(Verb.DELAY, dry_run, reason, on_progress, run_at=moment)

    # -- inside ---------------------------------------------------------------

    @property
    def _seconds(self) -> float:
        return self._core.settings.query_seconds

    async def _do(
        self,
        verb: Verb,
        dry_run: bool,  # noqa: FBT001 - the callers' own option
        reason: str | None,
        on_progress: OnProgress | None,
        **what: Any,
    ) -> ActAnswer | Preview:
        if reason is not None:
            reason = check_label(reason, "reason", longest=1_000)
        if dry_run:
            return await self._preview(verb)
        change = Change(verb=verb, reason=reason, **what)
        key = new_identity().hex()
        backend = await self._core.writer()
        doing = backend.acts.change(self._selection, change, key, who(), self._seconds)
        return await told(backend, key, doing, on_progress)

    async def _preview(self, verb: Verb | None) -> Preview:
        found = await self._core.ask(
            lambda backend: backend.acts.preview(self._selection, verb, self._seconds), None
        )
        if found is None:
            return Preview((), ())
        return Preview(found.counts, tuple(self._core.infos_of(found.records)), found.strange)


When = datetime | float | timedelta


def _due(until: object, now: datetime) -> datetime:
    if isinstance(until, datetime):
        return check_moment(until, "until")
    return now + timedelta(seconds=check_seconds(until, "until", zero="allow"))


def who() -> str | None:
    """Return whom the calling code runs for, if that is known."""
    context = current_auth_context()
    return None if context is None else (context.subject.display_name or context.subject.id)[:200]


async def told(
    backend: Backend, key: str, doing: Awaitable[T], on_progress: OnProgress | None
) -> T:
    """Return what an act comes to, and tell meanwhile how far it is."""
    if on_progress is None:
        return await doing
    task = asyncio.ensure_future(doing)
    try:
        while not (await asyncio.wait([task], timeout=LOOK_SECONDS))[0]:
            progress = await backend.acts.progress(key)
            if progress is not None:
                on_progress(progress)
        return task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def selected(core: Core, **given: Any) -> SelectedTasks:
    """Return the tasks of what a call gave.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    return SelectedTasks(core, select(given, naive_now(core.access.time)))
