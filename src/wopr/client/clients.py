"""The two clients: the calls of the table, and what is read while it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Unpack

from wopr.client.answers import ActDocument, TaskRow
from wopr.client.events import SILENT_SECONDS, Hearing, Notice, Transition
from wopr.client.inputs import EventFilter, Selection, When
from wopr.client.later import AsyncSender
from wopr.client.now import Sender
from wopr.client.overview import sql
from wopr.client.requests import Asked, Given
from wopr.client.sqlrows import AsyncSqlStream, SqlStream
from wopr.client.table import Calls
from wopr.domain.errors import WoprError

PAGE = 500
"""So many are asked for together."""
QUERY_SECONDS = 600.0
"""A question in SQL may take so long until its first rows come."""


class Client(Calls, Sender):
    """The REST API of a queue, blocking.

    ::

        with Client("https://queue.example") as client:  # the token: WOPR_TASKS_TOKEN
            id = client.enqueue("send_mail", ["ada@example.org"], priority="high")
            print(client.result(id, timeout=60))
    """

    def each_task(self, *, at: When | None = None, **which: Unpack[Selection]) -> Iterator[TaskRow]:
        """Give all selected tasks, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self.list_tasks(limit=PAGE, cursor=cursor, at=at, **which)
            yield from page.tasks
            cursor = page.next
            if cursor is None:
                return

    def each_act(self) -> Iterator[ActDocument]:
        """Give all acts, the newest first, page by page."""
        before: int | None = None
        while True:
            page = self.list_acts(limit=PAGE, before=before)
            yield from page.acts
            before = page.next
            if before is None:
                return

    def events(
        self, *, after: int | None = None, **which: Unpack[EventFilter]
    ) -> Iterator[Transition | Notice]:
        """Give what happens, as it does; a connection that ended is gone on with.

        Args:
            after: also what happened after the transition of this number.
            which: of which tasks.

        Raises:
            WoprError: nobody answers any more, or who asks may not.
        """
        hearing = Hearing(which, after)
        while True:
            failed: WoprError | None = None
            try:
                with self.stream(hearing.asked(), SILENT_SECONDS) as parts:
                    for part in parts:
                        yield from hearing.heard(part)
            except WoprError as error:
                failed = error
            time.sleep(hearing.pause(failed))

    @contextmanager
    def stream_sql(self, query: str, *params: Any, limit: int | None = None) -> Iterator[SqlStream]:
        """Ask in SQL, and read the rows while they come; arguments and errors as of ``sql``."""
        with self.stream(_question(query, params, limit), QUERY_SECONDS) as parts:
            yield SqlStream(parts)


class AsyncClient(Calls, AsyncSender):
    """The REST API of a queue, for programs with an event loop.

    ::

        async with AsyncClient("https://queue.example") as client:
            id = await client.enqueue("send_mail", ["ada@example.org"], priority="high")
            print(await client.result(id, timeout=60))
    """

    async def each_task(
        self, *, at: When | None = None, **which: Unpack[Selection]
    ) -> AsyncIterator[TaskRow]:
        """Give all selected tasks, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = await self.list_tasks(limit=PAGE, cursor=cursor, at=at, **which)
            for one in page.tasks:
                yield one
            cursor = page.next
            if cursor is None:
                return

    async def each_act(self) -> AsyncIterator[ActDocument]:
        """Give all acts, the newest first, page by page."""
        before: int | None = None
        while True:
            page = await self.list_acts(limit=PAGE, before=before)
            for one in page.acts:
                yield one
            before = page.next
            if before is None:
                return

    async def events(
        self, *, after: int | None = None, **which: Unpack[EventFilter]
    ) -> AsyncIterator[Transition | Notice]:
        """Give what happens, as it does; a connection that ended is gone on with.

        Args:
            after: also what happened after the transition of this number.
            which: of which tasks.

        Raises:
            WoprError: nobody answers any more, or who asks may not.
        """
        hearing = Hearing(which, after)
        while True:
            failed: WoprError | None = None
            try:
                async with self.stream(hearing.asked(), SILENT_SECONDS) as parts:
                    async for part in parts:
                        for event in hearing.heard(part):
                            yield event
            except WoprError as error:
                failed = error
            await asyncio.sleep(hearing.pause(failed))

    @asynccontextmanager
    async def stream_sql(
        self, query: str, *params: Any, limit: int | None = None
    ) -> AsyncIterator[AsyncSqlStream]:
        """Ask in SQL, and read the rows while they come; arguments and errors as of ``sql``."""
        async with self.stream(_question(query, params, limit), QUERY_SECONDS) as parts:
            rows = AsyncSqlStream(parts)
            await rows.begin()
            yield rows


def _question(query: str, params: tuple[Any, ...], limit: int | None) -> Asked[Any]:
    assert sql.row is not None, "it is a call of the API"
    given: Given = sql.said(query, *params, limit=limit)
    return Asked(sql.row, given)
