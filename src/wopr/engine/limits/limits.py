"""Bring the pools up to the limits that are set, at opening and whenever they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from wopr.domain.errors import QueueClosedError
from wopr.domain.guarded import safe_text
from wopr.domain.limits import Limit
from wopr.domain.rule import RuleKind
from wopr.domain.task import TaskRecord
from wopr.engine.limits.backlog import Backlog, Cancel
from wopr.engine.pools.gate import Gate
from wopr.engine.pools.pool import Pool
from wopr.engine.rules import Rules
from wopr.engine.shared import Shared
from wopr.ports.storage import PAGE_BYTES

log = logging.getLogger(__name__)

BACK_OFF = 0.5
HOLD = "limits"


class Limits:
    """The limits of one engine.

    While those of a category change it starts nothing, so that not one task too many does.
    """

    def __init__(
        self,
        shared: Shared,
        rules: Rules,
        pool: Callable[[str], Pool],
        window: int,
        cancel: Cancel,
    ) -> None:
        self._shared = shared
        self._rules = rules
        self._pool = pool
        self._window = window
        self._cancel = cancel
        self._limits: dict[str, list[Limit]] = {}
        self._building: dict[str, asyncio.Task[None]] = {}
        self._opening = True
        self.backlogs: dict[str, Backlog] = {}
        rules.on_change(RuleKind.LIMIT, self._changed)

    def _changed(self) -> None:
        limits: dict[str, list[Limit]] = {}
        for rule in self._rules.of(RuleKind.LIMIT):
            limit = Limit.from_json(rule.value)
            limits.setdefault(limit.category, []).append(limit)
        before, self._limits = self._limits, limits
        _log_changes(before, limits)
        for category in sorted(before.keys() | limits.keys()):
            if before.get(category) != limits.get(category):
                self._apply(category)

    def _apply(self, category: str) -> None:
        self._pool(category).hold(HOLD)
        self._bound(category)
        running = self._building.get(category)
        if running is not None:
            running.cancel()
        task = self._shared.loop.create_task(self._build(category, running))
        self._building[category] = task

    async def built(self) -> None:
        """Return when all limits count, at the opening.

        Raises:
            StorageError: the storage can't say what they need to know.
        """
        try:
            while self._building:
                await asyncio.gather(*self._building.values())
        finally:
            self._opening = False

    async def close(self, told: Exception | None = None) -> None:
        """Stop; the next opening goes on. Who waits for room gets ``told``, or such an error."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for backlog in self.backlogs.values():
            backlog.close(
                told or QueueClosedError("The queue was shut down while this call waited for room.")
            )

    async def _build(self, category: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        while True:
            try:
                await self._gate(category)
                if (backlog := self.backlogs.get(category)) is not None:
                    await backlog.count()
                break
            except Exception as error:
                if self._opening:  # which fails, too
                    raise
                log.error(
                    "Category %r starts nothing yet: its limits: %s", category, safe_text(error)
                )
                await asyncio.sleep(BACK_OFF)
        del self._building[category]
        self._pool(category).let_go_on(HOLD)

    async def _gate(self, category: str) -> None:
        pool = self._pool(category)
        limits = self._limits.get(category, [])
        aging = next((one.aging for one in limits if one.aging is not None), None)
        chooses = [
            one
            for one in limits
            if one.concurrency is not None or one.rate is not None or one.fair_by is not None
        ]
        await pool.claims_known()
        gate = None
        if chooses:
            gate = Gate(pool.lanes, chooses, self._arguments, self._window)
            periods = [one.per for one in chooses if one.per is not None]
            if periods:
                since = self._shared.steady.wall_since(timedelta(seconds=max(periods)))
                await self._count_starts(gate, category, since)
        pool.set_gate(gate, aging)

    async def _count_starts(self, gate: Gate, category: str, since: datetime) -> None:
        count = 0
        starts = self._shared.storage.starts
        while page := await starts(category, since, skip=count, most_bytes=PAGE_BYTES):
            count += len(page)
            for at, record in page:
                gate.started(record, self._shared.steady.of(at))

    def _arguments(self, record: TaskRecord) -> Mapping[str, object]:
        definition = self._shared.registry.definitions.get(record.name)
        if definition is None:  # it does not start here anyway
            return {}
        try:
            return definition.codec.arguments(record.args, record.kwargs)
        except Exception as error:  # noqa: BLE001 - its attempt fails and says what is wrong
            log.warning("The arguments of task %s do not fit its function: %r", record.id, error)
            return {}

    def _bound(self, category: str) -> None:
        limits = self._limits.get(category, [])
        bounded = next((one for one in limits if one.backlog is not None), None)
        known = self.backlogs.get(category)
        if known is not None and known.limit == bounded:
            return
        if known is not None and bounded is not None:
            known.change(bounded)
        elif known is not None:
            known.close()
            del self.backlogs[category]
        elif bounded is not None:
            self.backlogs[category] = Backlog(bounded, self._shared, self._cancel)


def _log_changes(
    before: Mapping[str, Sequence[Limit]], after: Mapping[str, Sequence[Limit]]
) -> None:
    """Log what counts now and did not, or not so, before, and what counts no more."""
    old, new = (
        {one.name: one for several in limits.values() for one in several if not one.empty}
        for limits in (before, after)
    )
    for name, limit in new.items():
        if old.get(name) != limit:
            log.info("Limit of %s: %s", name, limit.words())
    for name in sorted(old.keys() - new.keys()):
        log.info("Limit removed: %s", name)
