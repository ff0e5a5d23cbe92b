"""At most one live task per key: no pile of the same work, and a safe way to try again."""

from __future__ import annotations

import asyncio

from wopr import OnConflict, TaskHandle, TaskQueue, UniqueKeyConflictError

queue = TaskQueue(enabled=True)


@queue.task(category="search")
async def reindex(account: int, reason: str) -> str:
    return f"account {account}: {reason}"


async def main() -> None:
    async with queue:
        keyed = reindex.options(unique_key="reindex-7")

        # Ten requests at once; one task.
        handles = await asyncio.gather(*(keyed.enqueue(7, f"edit {n}") for n in range(10)))
        assert len({handle.id for handle in handles}) == 1

        # A caller that gave up waiting does not know whether the task is there. It asks again.
        request: asyncio.Task[TaskHandle[str]] = asyncio.create_task(keyed.enqueue(7, "again"))
        await asyncio.sleep(0)
        request.cancel()
        assert (await keyed.enqueue(7, "again")).id == handles[0].id

        strict = reindex.options(unique_key="reindex-7", on_conflict=OnConflict.RAISE)
        try:
            await strict.enqueue(7, "strictly once")
        except UniqueKeyConflictError as error:
            print(error)

        newest = reindex.options(unique_key="reindex-7", on_conflict=OnConflict.REPLACE)
        last = await newest.enqueue(7, "the newest wins")
        await queue.start_workers("search", 1)
        print(await last.result(timeout=10))
        print((await queue.get_task_stats())["by_status"])


asyncio.run(main())
