"""Questions to a queue on PostgreSQL, in its words; about the past also to its archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from wopr.fleet.archived import Archived
from wopr.insights import pastqueries, queries
from wopr.insights.dialects import words
from wopr.insights.own import is_own
from wopr.insights.spanning import Spanned, spanned
from wopr.ports.answers import QueryResult
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.storage.postgres.asking import ask, check_condition
from wopr.storage.postgres.connections import Connections
from wopr.storage.postgres.dialect import translated


class SharedAsking:
    """Asks the tables and the archive."""

    def __init__(self, connections: Connections, archived: Archived) -> None:
        self._connections = connections
        self._archived = archived
        self._words: Callable[[str], str | None] = words(translated)
        """Puts a question of wopr's own in the words of PostgreSQL; ``None`` for another one."""

    async def sql(self, query: str, params: Sequence[Any], limits: QueryLimits) -> QueryResult:
        """Run one read-only query. What people ask is asked of the tables alone."""
        span = spanned(query)
        if span is not None and await self._concerned(span, params):
            return QueryResult(await self._both(span, params, limits))
        return QueryResult(await self.tables(query, params, limits))

    async def tables(self, query: str, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        """Ask the tables alone."""
        own = self._words(query)
        # A condition of people's in a question of wopr's own is looked at like all they ask.
        ours = is_own(query)
        if not ours and own is not None and (parts := pastqueries.parted(query)) is not None:
            await check_condition(self._connections, parts[1], limits)
        answer = await ask(self._connections, own or query, params, limits, own=ours)
        if own is not None:
            answer = replace(answer, rows=[tuple(map(plain, row)) for row in answer.rows])
        return answer

    async def _concerned(self, span: Spanned, params: Sequence[Any]) -> bool:
        if not await self._archived.there():
            return False
        rows = (await self.tables(queries.GONE_UNTIL, (), QueryLimits())).rows
        until: datetime | None = rows[0][0] if rows else None
        return span.concerns(params, until)

    async def _both(self, span: Spanned, params: Sequence[Any], limits: QueryLimits) -> QueryRows:
        if span.rows is not None:
            limits = replace(limits, rows=span.rows)
        here = await self.tables(span.question, params, limits)
        there = await self._archived.ask(span.question, params, limits)
        rows = span.together([*here.rows, *there.rows], params)
        return QueryRows(here.columns, rows, here.cut or there.cut)


def plain(value: Any) -> Any:
    """Return a value of an answer as a file gives it: sums are numbers, and keys of histograms."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return {int(key): count for key, count in value.items()} if isinstance(value, dict) else value
