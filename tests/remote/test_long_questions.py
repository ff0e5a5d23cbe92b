"""A question that waits for its turn at the owner is no sign that the owner is held up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wopr import TaskQueue
from wopr.insights.insights import Insights
from wopr.ports.answers import QueryResult
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.remote.client import RemoteBackend
from wopr.remote.verbs import Verbs

SOON = 1.0
"""Seconds after which a client would give an owner up that says nothing."""


async def test_its_answer_is_waited_for_while_the_owner_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for = asyncio.Event()
    carry_out = Verbs.carry_out

    async def counted(verbs: Verbs, verb: str, *given: Any) -> Any:
        if verb == "hello" and asked.is_set():  # else it is that with which it connects
            looked_for.set()
        return await carry_out(verbs, verb, *given)

    asked = asyncio.Event()

    async def queued(*given: Any) -> QueryResult:
        asked.set()
        await looked_for.wait()
        return QueryResult(QueryRows(("one",), [(1,)], None))

    monkeypatch.setattr(Insights, "sql", queued)
    monkeypatch.setattr(Verbs, "carry_out", counted)
    async with TaskQueue(enabled=True, database=tmp_path / "q.duckdb") as queue:
        await queue.get_task_stats()
        remote = RemoteBackend(queue.database, call_seconds=SOON)
        assert await remote.connect()
        try:
            limits = QueryLimits(seconds=SOON / 2)
            assert 1 == (await remote.sql("select 1", [], limits)).scalar()
        finally:
            await remote.close()


async def test_nobody_is_looked_for_who_is_gone_while_the_next_one_answers(tmp_path: Path) -> None:
    async def elsewhere(*asked: Any) -> Any:
        for _ in range(10):
            await asyncio.sleep(0)
        return [("one",), [(1,)], None]

    remote = RemoteBackend(tmp_path / "q.duckdb", call_seconds=0.0, elsewhere=elsewhere)
    assert 1 == (await remote.sql("select 1", [], QueryLimits())).scalar()
