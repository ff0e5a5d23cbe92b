"""The calls of the storage that run people's SQL, here or in a process apart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from wopr.domain.errors import QueryError, QueryTimeoutError, StorageError
from wopr.ports.glance import once
from wopr.ports.storage import QueryLimits, QueryRows, Snapshot
from wopr.storage.duckdb.asked import apart
from wopr.storage.duckdb.asked.people import CrowdedError, Read, T, late
from wopr.storage.duckdb.asked.reading import check, run
from wopr.storage.duckdb.asked.snapshot import BACKUP, Purpose
from wopr.storage.duckdb.base import Base
from wopr.storage.duckdb.failures import is_fatal, is_others_fault, was_interrupted

KEPT_SECONDS = 5.0
"""So old a snapshot may be that another query gets."""
REMOVED_SECONDS = KEPT_SECONDS + apart.BEGINS_SECONDS
"""A snapshot is deleted so long after it was taken: by then who was told of it has opened it."""
ABANDONED_SECONDS = 3_600.0
"""A copy that somebody got and did not take away, or delete, is deleted after so long."""
MOST_KNOWN = 256


class AskCalls(Base):
    """Where a query runs follows from its text.

    In this process, beside others, if all that it calls is known to be harmless, and what it makes
    of the values that are there is not too much. A text that may
    be costly to plan is planned once in a process of its own before. Any other runs there
    altogether, on a snapshot; and so does one that failed here because of others.
    """

    async def query(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Run one read-only query that sees everything submitted before."""
        self._check()
        until = time.monotonic() + limits.seconds
        limits = replace(limits, archive=self.archive)
        if limits.own:  # of none of these are the lines a part that tasks log
            await self._up_to_date()
            return await self._again.ask(
                lambda: self._asked(lambda cursor: run(cursor, sql, params, limits), until, limits)
            )
        await once(("written", id(self)), self._all_written)
        written = self._shown
        alone = self._asking == 0
        self._asking += 1
        self._asked_so_far += 1
        number = self._asked_so_far
        try:
            return await self._here(sql, params, limits, until, written)
        except CrowdedError:
            pass
        except (QueryError, StorageError) as error:
            alone = alone and number == self._asked_so_far
            own_fault = alone and not (is_fatal(error) or was_interrupted(error))
            if own_fault or not is_others_fault(error):
                raise
        finally:
            self._asking -= 1
        left = until - time.monotonic()  # for both together
        if left <= 0:
            raise late(limits.seconds)
        return await self._apart(sql, params, replace(limits, seconds=left))

    async def _here(
        self, sql: str, params: Sequence[Any], limits: QueryLimits, until: float, written: int
    ) -> QueryRows:
        """Run a query of people in this process, unless its text says that this may not end."""
        weights = self._sizes.weights
        if sql not in weights:
            checked = await self._asked(lambda cursor: check(cursor, sql), until, limits)
            if checked.endless:
                return await self._apart(sql, params, limits)
            if not checked.simple:
                async with self._place_apart(limits.seconds):
                    await apart.plan(sql, params, limits.seconds)
                until = time.monotonic() + limits.seconds
            while len(weights) >= MOST_KNOWN:
                weights.pop(next(iter(weights)))
            weights[sql] = checked.weight
        weight, archived = weights[sql], limits.archive is not None

        def read(cursor: duckdb.DuckDBPyConnection) -> QueryRows | None:
            if self._sizes.is_heavy(cursor, weight, params, archived=archived, written=written):
                return None
            return run(cursor, sql, params, limits)

        found = await self._asked(read, until, limits)
        return await self._apart(sql, params, limits) if found is None else found

    async def _all_written(self) -> None:
        """Bring the tables up to everything submitted so far."""
        written = self._journal.writes_in
        await self._in_writer(self._folding.lines.write_all)
        self._shown = max(self._shown, written)

    async def snapshot(self, *, own: bool = False) -> Snapshot:
        """Return a snapshot; it is kept for some seconds, and others get it too.

        Args:
            own: of now, and given away to whoever asks.

        Raises:
            QueryError: the database is too large for that, or the disk has no room.
            StorageError: it could not be made.
        """
        self._check()
        if own:
            return await self._given_away(self._snapshots.for_query())
        async with self._copying:
            snapshots, kept, not_before = (
                self._snapshots,
                self._kept,
                time.monotonic() - KEPT_SECONDS,
            )
            if kept is not None and kept.taken >= not_before and kept.path.exists():
                return kept
            self._kept = kept = await self._taken(snapshots.for_query())
            loop = asyncio.get_running_loop()
            loop.call_later(REMOVED_SECONDS, loop.run_in_executor, None, snapshots.remove, kept)
            return kept

    async def backup(self) -> Snapshot:
        """Return a copy for somebody who makes a backup of it, and takes it away.

        Raises:
            StorageError: it could not be made, or the disk has no room for it.
        """
        self._check()
        return await self._given_away(BACKUP)

    async def _given_away(self, purpose: Purpose) -> Snapshot:
        async with self._copying:
            found = await self._taken(purpose)
        self._snapshots.give_away(found)
        loop = asyncio.get_running_loop()
        remove = self._snapshots.remove
        loop.call_later(ABANDONED_SECONDS, loop.run_in_executor, None, remove, found)
        return found

    async def _taken(self, purpose: Purpose) -> Snapshot:
        snapshots = self._snapshots

        def freeze() -> Any:
            self._folding.lines.write_all()
            return snapshots.freeze(purpose)

        try:
            frozen = await self._in_writer(freeze)
            copying = asyncio.ensure_future(asyncio.to_thread(snapshots.copy, frozen))
            try:
                return await asyncio.shield(copying)
            except asyncio.CancelledError:
                copying.add_done_callback(self._unwanted)
                raise
        finally:
            snapshots.thaw()

    def _unwanted(self, copying: asyncio.Future[Snapshot]) -> None:
        """Delete a copy whose caller gave up while it was made."""
        if not copying.cancelled() and copying.exception() is None:
            self._snapshots.remove(copying.result())

    async def _apart(self, sql: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        async with self._place_apart(limits.seconds):
            async with self._copying:
                snapshot = await self._taken(self._snapshots.for_query())
            try:
                return await apart.ask(snapshot.path, sql, params, limits, self.memory_limit)
            finally:
                await asyncio.to_thread(self._snapshots.remove, snapshot)

    @contextlib.asynccontextmanager
    async def _place_apart(self, seconds: float) -> AsyncIterator[None]:
        """Have one of the few places for processes apart; wait no longer than a query may run."""
        places = self._places_apart
        try:
            async with asyncio.timeout(seconds):
                await places.acquire()
        except TimeoutError:
            raise QueryTimeoutError(
                f"{apart.MOST} other queries ran in processes apart for {seconds:g} s, which is "
                "the most, so this one never began. Ask again, or fewer at once."
            ) from None
        try:
            yield
        finally:
            places.release()

    async def _asked(self, read: Read[T], until: float, limits: QueryLimits) -> T:
        try:
            left = until - time.monotonic()
            return await self._people.ask(read, left, limits.seconds, own=limits.own)
        except CrowdedError as error:
            if limits.own:
                raise QueryTimeoutError(str(error)) from error
            raise
        except (QueryError, StorageError) as error:
            if is_fatal(error):  # the writer would not notice before its next commit
                self._folding.invalidated()
            raise
