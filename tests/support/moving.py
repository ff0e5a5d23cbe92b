"""A queue with something of everything that moves, and all that it has, table by table."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from support.queues import PATIENCE, until
from support.seed import seed
from wopr import TaskQueue
from wopr.storage.duckdb.moving.shape import shape
from wopr.storage.moving.tables import TABLES

NASTY = "tab\t line\n \\. \r \\N \"quoted\" 'it' , ; \x1e \x1f ü €\n\\.\n"
LARGE = "x" * 10_000


async def furnish(path: Path) -> None:
    """Make a file with tasks in every status, flows, schedules, rules, acts, logs, tokens."""
    await seed(path)
    async with TaskQueue(enabled=True, database=path) as queue:

        @queue.task(name="echo")
        async def echo(text: str) -> str:
            return text

        handles = [await echo.enqueue(text) for text in (NASTY, LARGE, "\0\\0", "")]
        await queue.start_workers("default", 2)
        for handle in handles:
            await handle.result(timeout=PATIENCE)
        await echo.options(delay=86_400, unique_key="one").enqueue(NASTY)
        await queue.schedules.add("yearly", "echo", cron="0 0 1 1 *", args=(NASTY,))
        await queue.revoke(task="echo", where={"text": "x"}, standing=True, reason="no such disk")


async def contents(queue: TaskQueue) -> dict[str, list[str]]:
    """Return all that moves, table by table, in an order that both homes share.

    NUL is left out: PostgreSQL has none in its texts. Results of more than 4 KiB are apart in
    a file.
    """
    found = {}
    for table in TABLES:
        columns = ", ".join(shape()[table])
        source = f"wopr.{table}" if "postgresql" in str(queue.database) else table
        if source == "tasks":
            columns = columns.replace(
                " result,",
                " coalesce(result, (select result from results where seq = version)) as result,",
            )
        answer = await queue.sql(f"select {columns} from {source}", limit=100_000)
        rows = [_plain(one) for one in answer]
        found[table] = sorted(rows)
    return found


def _plain(row: Any) -> str:
    text = repr([(name, _value(value)) for name, value in row.items()])
    return text.replace("\\x00", "\ufffd").replace("\\\\u0000", "\\\\ufffd")


def _value(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


async def until_count(ran: Counter[int], count: int) -> None:
    """Return when so many tasks have run."""

    async def look() -> int:
        await asyncio.sleep(0.01)
        return len(ran)

    await until(look, lambda seen: seen >= count)
