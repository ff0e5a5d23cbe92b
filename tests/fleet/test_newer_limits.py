"""A limit that is set while a claim is under way counts for that claim, too."""

from __future__ import annotations

from typing import Any

import pytest

from support.queues import Gate, PostgresHome, ended
from wopr.fleet import claiming


async def test_a_claim_that_began_by_older_limits_takes_nothing(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, gate = shared.queue(), Gate()

    @queue.task(name="send", category="mail")
    async def send() -> None:
        await gate.wait()

    measure = claiming._Look.measure
    set_meanwhile: list[int] = []

    async def measured(look: Any, connection: Any) -> None:
        await measure(look, connection)
        if not set_meanwhile:
            set_meanwhile.append(1)
            await queue.set_limit("mail", task="send", concurrency=1)

    async with queue:
        await queue.set_limit("mail", task="send", concurrency=3)
        tasks = [await send.enqueue() for _ in range(3)]
        monkeypatch.setattr(claiming._Look, "measure", measured)
        await queue.start_workers("mail", 3)
        await gate.arrivals(1)
        assert {"started": 1, "pending": 2} == (await queue.get_task_stats())["by_status"]
        gate.open()
        await ended(queue, *(task.id for task in tasks))
    assert [1] == set_meanwhile
