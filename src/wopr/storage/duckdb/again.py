"""Reads that are done once more, because a query of people's made them fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import duckdb

from wopr.domain.errors import QueryError, QueryTimeoutError, StorageError
from wopr.ports import glance
from wopr.storage.duckdb.asked.people import CrowdedError, People
from wopr.storage.duckdb.failures import is_fatal, is_others_fault
from wopr.storage.duckdb.folding import Folding
from wopr.storage.duckdb.reader import Reader

T = TypeVar("T")

GLANCE_SECONDS = 30.0
"""So long a read of a glance may take."""


class Again:
    """Does what wopr itself asks once more, after the queries of people were stopped.

    Args:
        people: what they ask.
        folding: opens the database again when it was made unusable.
        fold: waits until the tables are up to date, in a database that can be used.
    """

    def __init__(
        self, people: People, folding: Folding, fold: Callable[[], Awaitable[None]]
    ) -> None:
        self._people = people
        self._folding = folding
        self._fold = fold

    async def read(self, reader: Reader, read: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Read something in the thread of a reader.

        In a glance in another one: what people look at, and what the engine reads meanwhile, hold
        each other up for no longer than the machine is busy.
        """

        async def once() -> T:
            try:
                if glance.number() is not None:
                    return await self._glance(read)
                return await asyncio.wrap_future(reader.submit(read))
            except (QueryError, StorageError) as error:
                if is_fatal(error):  # the writer would not notice before its next commit
                    self._folding.invalidated()
                raise

        return await self.ask(once)

    async def _glance(self, read: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        try:
            return await self._people.ask(read, GLANCE_SECONDS, GLANCE_SECONDS, own=True)
        except CrowdedError as error:
            raise QueryTimeoutError(str(error)) from error

    async def ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Await something, a second time if others made it fail."""
        try:
            return await ask()
        except (QueryError, StorageError) as error:
            if not is_others_fault(error):
                raise
        await self._people.clear()
        await self._fold()
        return await ask()
