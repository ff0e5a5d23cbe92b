"""Successes are written with little, alone or with others; rows and history say the same then."""

from __future__ import annotations

from typing import Any

from tenacity import wait_none

from support.queues import PostgresHome, ended
from wopr import current_task
from wopr.domain.address import PostgresAddress
from wopr.storage.postgres.doctor import check

RESULTS: list[Any] = [None, 1, "", "a\0b", "\\u0000", '"}', {"result": [1.5, None]}, "é漢🙂\n"]


async def test_what_succeeded_is_in_its_row_as_in_its_history(shared: PostgresHome) -> None:
    failed: set[int] = set()

    async with shared.queue() as queue:

        @queue.task(name="gives", max_retries=1, retry=wait_none())
        async def gives(number: int, how: str) -> Any:
            if how == "reports":
                current_task().progress(50, "half", data={"of": number})
            if how == "fails once" and number not in failed:
                failed.add(number)
                raise ValueError(number)
            return RESULTS[number]

        calls = [
            (n, how) for how in ("plain", "reports", "fails once") for n in range(len(RESULTS))
        ]
        tasks = await gives.enqueue_many(calls)
        await queue.start_workers("default", len(tasks))
        await ended(queue, *(task.id for task in tasks))
        for task, (number, how) in zip(tasks, calls, strict=True):
            info = await queue.require_task_info(task.id)
            attempts = 2 if how == "fails once" else 1
            assert (RESULTS[number], 100.0, None, attempts) == (
                *(info.result, info.progress, info.error, info.attempt),
            )
    assert [] == check(PostgresAddress(shared.address))[0].problems
