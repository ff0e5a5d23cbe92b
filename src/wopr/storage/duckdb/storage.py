"""DuckDBStorage: the storage port on one DuckDB file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from wopr.storage.duckdb.cleanup import Cleanup
from wopr.storage.duckdb.linecalls import LineCalls
from wopr.storage.duckdb.readcalls import ReadCalls
from wopr.storage.duckdb.rules import RuleCalls
from wopr.storage.duckdb.schedules import ScheduleCalls
from wopr.storage.duckdb.seedcalls import SeedCalls


class DuckDBStorage(ReadCalls, ScheduleCalls, RuleCalls, LineCalls, SeedCalls):
    """Tasks and their transitions in a DuckDB file that this process owns.

    Args:
        database: the file; it is created, mode 0600, when the storage is opened.
        memory_limit: DuckDB's own memory limit, e.g. ``"200MB"``.
    """

    async def cleanup(
        self,
        before: datetime,
        *,
        keep_history: bool,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Delete terminal tasks in batches, between which the writer serves others."""
        self._check()
        cleanup = Cleanup(
            self._writer.folding, self._opened_or_raise(), before, keep_history=keep_history
        )
        total = 0
        while True:
            deleted = await self._in_writer(cleanup.batch)
            if not deleted:
                return total
            total += deleted
            if progress is not None:
                progress(total)
