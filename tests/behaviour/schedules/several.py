"""One of several processes that all run a scheduler on one file, until it is killed."""

from __future__ import annotations

import asyncio
import sys

from wopr import Misfire, Overlap, TaskQueue
from wopr.domain.errors import WoprError

queue = TaskQueue(enabled=True, database=sys.argv[1])


@queue.schedule(
    name="s",
    every={"milliseconds": 20},
    overlap=Overlap.ALLOW,
    misfire=Misfire.RUN_ALL,
    misfire_limit=10_000,
)
@queue.task
async def beat() -> int:
    return 1


async def main() -> None:
    while True:
        try:
            await queue.start_scheduler(interval=0.01)
            break
        except WoprError:  # the owner was killed just now
            await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
