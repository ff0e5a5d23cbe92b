"""Run what is due, until nothing is."""

from __future__ import annotations

import asyncio

from wopr.domain.checks import check_count, check_label
from wopr.domain.spoken import counted
from wopr.domain.task import TaskInfo
from wopr.queue.queue import TaskQueue
from wopr.testing.bench import Bench, bench_of


async def drain(
    queue: TaskQueue,
    category: str | None = None,
    *,
    limit: int = 1_000,
    concurrency: int = 1,
    timeout: float = 60.0,
) -> list[TaskInfo]:
    """Run all tasks that are due, and those that they enqueue, until none is left.

    First it fires schedules that are due. Tasks that are delayed or wait for a retry stay
    where they are until the clock is moved; so do those that are paused, limited by a rate, or
    whose function nobody registered. Categories with workers of the application are waited for,
    the others get workers until this returns.

    Args:
        queue: opened if it is not open yet.
        category: run only tasks of this one.
        limit: attempts that may be started; more of them mean that tasks go on for ever.
        concurrency: tasks of a category that run at the same time. More than one is needed
            where a task waits for another of its category.
        timeout: seconds, of the real clock, that all of it may take.

    Returns the tasks that ran, as they stand now, in the order of their first start.

    Raises:
        AssertionError: more than ``limit`` attempts were started, or time was over.
        InvalidCallError: a value can't be what it has to be, or the queue is switched off.
        StorageOwnedError: another process has the file.
    """
    check_count(limit, "limit", least=1)
    check_count(concurrency, "concurrency", least=1, most=1_000)
    if category is not None:
        check_label(category, "category")
    bench = bench_of(queue)
    await bench.backend()
    begin = len(bench.starts)
    await queue.schedules.tick()
    try:
        async with asyncio.timeout(timeout):
            while (since := await _busy(bench, category, concurrency)) is not None:
                if len(bench.starts) - begin > limit:
                    raise AssertionError(
                        f"More than {counted(limit, 'attempt')} began and tasks are still due. "
                        "Does a task enqueue itself for ever? Else give drain() a larger limit=."
                    )
                await bench.change(since)
    except TimeoutError:
        left = [info async for info in bench.unfinished(category)][:5]
        text = [f"{one.name} {one.id}: {await queue.explain(one.id)}" for one in left]
        raise AssertionError(
            f"drain() did not come to an end in {timeout:g} s. It waits for: {'; '.join(text)} A "
            "task that waits for another of its category needs concurrency=2."
        ) from None
    finally:
        await bench.send_home()
    ids = dict.fromkeys(bench.starts[begin:])
    infos = [await queue.get_task_info(task_id) for task_id in ids]
    return [info for info in infos if info is not None]


async def _busy(bench: Bench, category: str | None, concurrency: int) -> int | None:
    """Return since when, if some task will go on by itself."""
    async with bench.steady:
        while True:
            since = bench.moment
            pools = (await bench.backend()).engine.pools
            scope = {category} if category is not None else {*pools, *bench.queue.categories}
            await bench.staff(scope, concurrency)
            if any(pools[one].running for one in scope):
                return since
            moves: bool | None = False
            async for info in bench.unfinished(category):
                moves = await bench.moves(info)
                if moves is not False:
                    break
            if moves:
                return since
            await bench.told()
            if moves is False and bench.moment == since:  # else it was between two places
                return None
