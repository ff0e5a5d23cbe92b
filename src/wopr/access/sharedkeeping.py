"""Old tasks retire on PostgreSQL: by the rules of each host, on one of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from wopr.access.sharedacts import SharedActs
from wopr.domain.keeping import Retention
from wopr.domain.spoken import counted
from wopr.engine.keeping import Keeping
from wopr.engine.retaining import EVERY, log
from wopr.engine.shared import Shared
from wopr.fleet.fleet import Fleet
from wopr.fleet.parts import logged
from wopr.storage.postgres.archiving import Archive, Archiving
from wopr.storage.postgres.retirement import Retirement


class SharedKeeping:
    """Who retires on one host.

    Args:
        fleet: the host.
        operators: note what was done.
        rules: what the settings of this host say.
        archive: to which tasks go before they are deleted, if there is one.
    """

    def __init__(
        self,
        fleet: Fleet,
        operators: SharedActs,
        rules: Sequence[Retention],
        archive: Archive | None,
    ) -> None:
        parts = fleet.parts
        self._fleet = fleet
        connections = parts.store.connections
        archiving = None if archive is None else Archiving(connections, archive)
        self._retirement = Retirement(connections, archiving)
        shared = SimpleNamespace(
            storage=self._retirement, clock=parts.clock, loop=parts.around.loop
        )
        self.rules = Keeping(cast("Shared", shared), operators.acts, operators.book)
        self.rules.rules = tuple(rules)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look now and then, from now on."""
        self.rules.start()
        self._task = self._fleet.parts.around.loop.create_task(self._look())

    async def stop(self) -> None:
        """Look no more. Idempotent."""
        await self.rules.stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            with logged("Tasks that are not to be kept any longer can't be deleted"):
                await self.forget()

    async def forget(self) -> int:
        """Delete all tasks whose own time is over, with breaks; return how many."""
        loop, total = self._fleet.parts.around.loop, 0
        while True:
            began = loop.time()
            count = await self._retirement.forget(self._fleet.parts.now())
            total += count
            if not count:
                break
            await asyncio.sleep(loop.time() - began)
        if total:
            told = counted(total, "task")
            log.info("Deleted %s, not to be kept any longer (retain=).", told)
        return total
