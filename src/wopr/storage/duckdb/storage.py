"""DuckDBStorage: the storage port on one DuckDB file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from wopr.domain.facts import Disk
from wopr.storage.duckdb.acts import ActCalls
from wopr.storage.duckdb.archivecalls import ArchiveCalls
from wopr.storage.duckdb.base import Connection
from wopr.storage.duckdb.cleanup import Over, doomed, over
from wopr.storage.duckdb.disk import beside
from wopr.storage.duckdb.journal.scan import segments
from wopr.storage.duckdb.linecalls import LineCalls
from wopr.storage.duckdb.operations import delete_acts, delete_tasks
from wopr.storage.duckdb.readcalls import ReadCalls
from wopr.storage.duckdb.rules import RuleCalls
from wopr.storage.duckdb.schedules import ScheduleCalls
from wopr.storage.duckdb.seedcalls import SeedCalls
from wopr.storage.duckdb.selectcalls import SelectCalls


class DuckDBStorage(
    ReadCalls, SelectCalls, ActCalls, ScheduleCalls, RuleCalls, LineCalls, SeedCalls, ArchiveCalls
):
    """Tasks and their transitions in a DuckDB file that this process owns.

    Args:
        database: the file; it is created, mode 0600, when the storage is opened.
        memory_limit: DuckDB's own memory limit, e.g. ``"200MB"``.
    """

    def disk(self) -> Disk | None:
        """Return how much room there is beside the file, and what it takes with its journal."""
        path = Path(os.path.realpath(self.path))
        used = 0
        for one in (path, beside(path, ".wal"), *segments(path)):
            with contextlib.suppress(OSError):  # gone since it was listed
                used += one.stat().st_size
        return Disk(str(path), shutil.disk_usage(path.parent).free, used)

    async def cleanup(
        self,
        before: datetime,
        *,
        keep_history: bool,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Delete terminal tasks in batches, between which the writer serves others."""
        self._check()
        total = 0

        def choose(connection: Connection) -> list[str]:
            self._folding.lines.write_all()  # they go with their tasks
            return doomed(connection, before)

        while ids := await asyncio.wrap_future(self.in_writer(choose)):
            await self._log([delete_tasks(ids, before, keep_history=keep_history)])
            total += len(ids)
            if progress is not None:
                progress(total)
        if total:
            await self._log([delete_acts(before)])
        return total

    async def forget(self, now: datetime) -> tuple[int, datetime | None]:
        """Delete a batch of the tasks whose own time is over."""
        self._check()

        def choose(connection: Connection) -> Over:
            self._folding.lines.write_all()  # they go with their tasks
            return over(connection, now)

        found = await asyncio.wrap_future(self.in_writer(choose))
        if found.ended is not None:
            await self._log([delete_tasks(found.ids, found.ended, keep_history=False)])
        return len(found.ids), found.until
