"""Pauses and revocations that count in one engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from wopr.calls.revoking import check_parameters, is_about
from wopr.domain.controls import Pause, Revocation
from wopr.domain.due import is_expired
from wopr.domain.errors import InvalidCallError, WoprError
from wopr.domain.rule import RuleKind
from wopr.domain.spoken import local
from wopr.domain.status import LIVE
from wopr.domain.task import TaskRecord
from wopr.engine.pools.pool import Pool
from wopr.engine.rules import Rules
from wopr.engine.shared import Shared
from wopr.ports.storage import TaskFilter

log = logging.getLogger(__name__)

PAUSED = "paused"

Cancel = Callable[[str, str], Awaitable[bool]]


class Controls:
    """Holds back, and cancels, what an operator said."""

    def __init__(
        self, shared: Shared, rules: Rules, pools: Mapping[str, Pool], cancel: Cancel
    ) -> None:
        self._shared = shared
        self._rules = rules
        self._pools = pools
        self._cancel = cancel
        self._pauses: dict[str, Pause] = {}
        self._revocations: dict[str, Revocation] = {}
        self._categories: dict[str, Pause] = {}
        self._cancelling: set[asyncio.Task[None]] = set()
        shared.refuse = self.refuse
        rules.on_change(RuleKind.PAUSE, self._paused)
        rules.on_change(RuleKind.REVOCATION, self._revoked)

    def prepare(self, pool: Pool) -> None:
        """Bring a new pool up to what counts."""
        options = self._shared.registry.category(pool.category)
        pool.background, pool.lends = options.background, options.lend_slots
        if pool.lanes.unregistered:  # something else may run its tasks now
            pool.reread()
        pool.wake()  # it may have been of the background until now
        if pool.category in self._categories:
            pool.hold(PAUSED)

    # -- pauses ---------------------------------------------------------------

    def _paused(self) -> None:
        pauses = [Pause.from_rule(rule) for rule in self._rules.of(RuleKind.PAUSE)]
        known, self._pauses = self._pauses, {one.name: one for one in pauses}
        for name, one in self._pauses.items():
            if known.get(name) != one:
                log.info("Paused: %s, since %s: %s", name, local(one.since), one.reason)
        for name in sorted(known.keys() - self._pauses.keys()):
            log.info("Resumed: %s", name)
        self._categories = {one.category: one for one in pauses if one.category is not None}
        before = self._shared.paused
        self._shared.paused = {one.task: one for one in pauses if one.task is not None}
        resumed = before.keys() - self._shared.paused.keys()
        for pool in self._pools.values():
            if pool.category in self._categories:
                pool.hold(PAUSED)
            else:
                pool.let_go_on(PAUSED)
            if resumed & pool.lanes.unregistered:
                pool.reread()

    def pause_of(self, record: TaskRecord) -> Pause | None:
        """Return what holds a task back; ``None`` if nothing is paused that it is of."""
        return self._categories.get(record.category) or self._shared.paused.get(record.name)

    # -- revocations ----------------------------------------------------------

    def _revoked(self) -> None:
        revoked: dict[str, list[Revocation]] = {}
        for rule in self._rules.of(RuleKind.REVOCATION):
            one = Revocation.from_rule(rule)
            revoked.setdefault(one.task, []).append(one)
        self._shared.revoked = revoked
        known, self._revocations = (
            self._revocations,
            {one.name: one for several in revoked.values() for one in several},
        )
        for name, one in self._revocations.items():
            if known.get(name) != one:
                log.info("Revoked until lifted: tasks %s: %s", name, one.reason)
        for name in sorted(known.keys() - self._revocations.keys()):
            log.info("Revocation lifted: tasks %s", name)

    def refuse(self, record: TaskRecord, now: datetime) -> bool:
        """Cancel a task that is about to start, if it is too late or a revocation is about it."""
        if is_expired(record, now):
            self._end_soon(record, "expired")
            return True
        for revocation in self._shared.revoked.get(record.name, ()):
            if self.is_about(revocation, record):
                self._end_soon(record, revocation.reason)
                return True
        return False

    def _end_soon(self, record: TaskRecord, reason: str) -> None:
        task = self._shared.loop.create_task(self._end(record, reason))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _end(self, record: TaskRecord, reason: str) -> None:
        try:
            await self._cancel(record.id, reason)
        except WoprError as error:  # it is in its queue again, and is looked at once more
            log.error("Task %s (%s) can't be cancelled yet: %s", record.id, reason, error)
            self._pools[record.category].back_off()

    async def check_known(self, revocation: Revocation) -> None:
        """Refuse to look at arguments whose names nobody here knows.

        Raises:
            InvalidCallError: it asks for some, and there are tasks of its name.
        """
        registered = revocation.task in self._shared.registry.definitions
        if registered:
            check_parameters(self._shared.registry, revocation)
        if not revocation.where or registered:
            return
        for status in LIVE:
            query = TaskFilter(name=revocation.task, status=status, limit=1)
            if await self._shared.storage.find(query):
                raise InvalidCallError(
                    f"The function of task {revocation.task!r} is not registered in the "
                    "process that owns the queue, so the names of its arguments are not known "
                    "and nothing was cancelled. Revoke while its worker runs, which this call "
                    "then reaches, or revoke all tasks of this name."
                )

    def is_about(self, revocation: Revocation, record: TaskRecord) -> bool:
        """Whether a revocation is about a task."""
        return is_about(self._shared.registry, revocation, record)

    async def close(self) -> None:
        """Finish what is being cancelled."""
        await asyncio.gather(*self._cancelling, return_exceptions=True)
