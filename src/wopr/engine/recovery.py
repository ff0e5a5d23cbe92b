"""What a dead owner left STARTED."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from wopr.config.crashpoint import crashpoint
from wopr.domain import decide
from wopr.domain.clock import naive_now
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord
from wopr.engine.shared import Shared
from wopr.ports.storage import Entry
from wopr.running.attempt import Worker

log = logging.getLogger(__name__)

PAGE = 1_000


class Staffed(Protocol):
    """A pool, as far as this module is concerned."""

    @property
    def workers(self) -> Sequence[Worker]:
        """Its slots."""
        ...


class Recovery:
    """Decides about tasks that are STARTED and that nobody runs."""

    def __init__(
        self,
        shared: Shared,
        max_crashes: int,
        pools: Mapping[str, Staffed],
        recovered: Callable[[TaskRecord], None],
    ) -> None:
        self._shared = shared
        self._max_crashes = max_crashes
        self._pools = pools
        self._recovered = recovered
        self._lock = asyncio.Lock()

    async def recover(self, category: str | None) -> int:
        """Decide about STARTED tasks that nobody runs; return how many there were.

        At opening that is every one of them. Later, whose worker is none of this
        process: one of ours may have ended while the storage was read.
        """
        async with self._lock:
            count = after = 0
            while True:
                own = {worker.name for pool in self._pools.values() for worker in pool.workers}
                page = await self._shared.storage.orphans(after, PAGE)
                if not page:
                    break
                after = page[-1].seq
                count += await self._decide(
                    record
                    for record in page
                    if record.worker not in own and category in {None, record.category}
                )
            if count:
                said = counted(count, "task")
                log.warning("Recovered %s that a dead process had left running.", said)
            return count

    async def _decide(self, orphans: Iterable[TaskRecord]) -> int:
        now = naive_now(self._shared.clock)
        decided = [(record, decide.recover(record, self._max_crashes, now)) for record in orphans]
        entries: list[Entry] = [(record, made) for record, made in decided if made is not None]
        if not entries:
            return 0
        crashpoint("recovery.before_write")
        await self._shared.write(entries, lambda error: None)
        crashpoint("recovery.after_write")
        for record, _ in entries:
            self._recovered(record)
        return len(entries)
