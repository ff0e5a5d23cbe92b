"""An answer with lists and structs is made a row at a time, and no giant one at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wopr import QueryError, TaskQueue
from wopr.storage.duckdb.asked import nested


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    queue = TaskQueue(enabled=True, database=tmp_path / "one.duckdb")
    async with queue:
        yield queue


@pytest.mark.parametrize(
    "value",
    [
        "list(range)",
        "{'a': list(range)}",
        "map {1: list(range)}",
        "[[1], list(range)]",
        "list(range::varchar)",
    ],
)
async def test_a_giant_value_is_refused_before_python_makes_it(
    queue: TaskQueue, value: str
) -> None:
    with pytest.raises(QueryError, match="a value of big has more than 4,194,304 bytes"):
        await queue.sql(f"select 1 as one, {value} as big from range(3000000)")
    assert [(3_000_000,)] == (await queue.sql("select len(list(range)) from range(3000000)")).rows


async def test_one_at_the_bound_is_answered(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nested, "MOST_BYTES", len("[1, 2, 3]"))
    assert [([1, 2, 3],)] == (await queue.sql("select [1, 2, 3]")).rows
    with pytest.raises(QueryError, match="more than 9 bytes"):
        await queue.sql("select [1, 2, 30]")


@pytest.mark.parametrize(
    "query",
    [
        "select [range] as l, 1 as a, 2 as a from range(3) order by range desc; -- and so on",
        "from (values ([2], 1, 2), ([1], 1, 2), ([0], 1, 2)) as three(l, a, b) select l, a, b as a",
        "with one as (select range as r from range(3)) select [r] as l, 1 as a, 2 as a from one "
        "order by all desc",
    ],
)
async def test_names_rows_and_their_order_are_those_of_the_query(
    queue: TaskQueue, query: str
) -> None:
    answer = await queue.sql(query)
    assert (("l", "a", "a"), [([2], 1, 2), ([1], 1, 2), ([0], 1, 2)]) == (
        tuple(answer.columns),
        answer.rows,
    )


async def test_parameters_count_as_in_the_query(queue: TaskQueue) -> None:
    query = "select [?, ?] as l where ? = 3"
    assert [([1, 2],)] == (await queue.sql(query, 1, 2, 3)).rows


async def test_a_pivot_may_have_lists(queue: TaskQueue) -> None:
    query = (
        "pivot (select range % 2 as odd, range from range(4)) on odd in (0, 1) using list(range)"
    )
    assert [([0, 2], [1, 3])] == (await queue.sql(query)).rows
    found = "pivot (select range % 2 as odd, range from range(4)) on odd using list(range)"
    for end in ("", ";", " ; -- 'é;' that is all", ";; /* ; */"):
        assert [([0, 2], [1, 3])] == (await queue.sql(found + end)).rows


async def test_the_loop_goes_on_while_a_giant_one_is_measured(queue: TaskQueue) -> None:
    asked = asyncio.ensure_future(queue.sql("select list(range) from range(3000000)"))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    with pytest.raises(QueryError, match="bytes as text"):
        await asked
    assert turns > 100
