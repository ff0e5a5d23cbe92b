"""What may be set on a queue while it is closed, and counts from its next opening on."""

from __future__ import annotations

from pathlib import Path

from support.queues import DuckDBHome


async def test_another_file_counts_from_the_next_opening_on(
    durable_home: DuckDBHome, tmp_path: Path
) -> None:
    queue = durable_home.queue()
    queue.register_task("nothing")(lambda: None)
    async with queue:
        first = await queue.add_task("nothing")
    assert queue.storage.path == queue.database  # made for that file

    queue.database = tmp_path / "another.duckdb"

    async with queue:
        assert await queue.get_task_info(first) is None
        assert await queue.add_task("nothing")
    assert (tmp_path / "another.duckdb").exists()


async def test_a_queue_that_is_switched_on_later_works(durable_home: DuckDBHome) -> None:
    queue = durable_home.queue()
    queue.enabled = False
    queue.register_task("nothing")(lambda: None)
    assert await queue.get_tasks() == []

    queue.enabled = True

    async with queue:
        assert await queue.add_task("nothing")
