"""What a child of the crash test of flows does until it is killed, and the flow that it runs."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from wopr import TaskQueue, current_task
from wopr.config.settings import Settings
from wopr.domain.resultof import ResultOf
from wopr.flows import Flow, Signature
from wopr.storage.duckdb import checkpoints, folding
from wopr.storage.duckdb.journal import segments

TASKS = 500
"""More than all children but the last can end: 15 of them die within 8 passes through a point,
and 4 workers end at most 4 tasks between two passes."""


def parents_of(seed: int) -> list[list[int]]:
    """Return a random graph: per task the numbers of those whose results it takes."""
    rng = random.Random(seed)
    return [
        sorted(rng.sample(range(max(0, number - 40), number), min(number, rng.randrange(4))))
        for number in range(TASKS)
    ]


def value_of(number: int, values: list[int]) -> int:
    """Return the result of a task whose parents gave these."""
    return (number * 31 + sum(values)) % 1_000_003


def build(queue: TaskQueue, journal: Path) -> TaskQueue:
    """Give the queue its task, which tells the journal when it runs and when it is done."""
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @queue.task(name="work")
    async def work(number: int, values: list[int]) -> int:
        me = current_task()
        os.write(file, f"run {me.id} {me.attempt}\n".encode())
        await asyncio.sleep(0)
        os.write(file, f"done {me.id} {me.attempt}\n".encode())
        return value_of(number, values)

    return queue


def graph(seed: int) -> Flow:
    """Return the random graph as a flow."""
    flow = Flow()
    for number, parents in enumerate(parents_of(seed)):
        values = [ResultOf(str(parent)) for parent in parents]
        flow.add(Signature("work", (number, values)), key=str(number))
    return flow


async def live(database: Path, journal: Path, seed: int, *, enqueue: bool) -> None:
    """Enqueue the flow if told so; work until nothing is left."""
    settings = Settings(max_crashes=1_000_000, window=20)
    queue = build(TaskQueue(enabled=True, database=database, settings=settings), journal)
    async with queue:
        if enqueue:
            flow_id = (await queue.enqueue_flow(graph(seed))).id
            print(flow_id, flush=True)
        else:
            rows = await queue.sql("select distinct flow_id::varchar as id from tasks")
            flow_id = rows[0]["id"]
        await queue.start_workers("default", 4)
        await (await queue.flow(flow_id)).wait()


if __name__ == "__main__":
    if os.environ.get("WOPR_CRASH_POINT", "").startswith("fold."):
        folding.FOLD_ROWS = 1  # after every write: a quiet moment may never come
    folding.QUIET_SECONDS = 0.001
    checkpoints.QUIET_SECONDS = 0.0
    checkpoints.QUIET_BYTES = 1
    segments.FIRST_BYTES = segments.SEGMENT_BYTES = 8192
    asyncio.run(
        live(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), enqueue=len(sys.argv) > 4)
    )
