"""A host of a fleet, for tests: works until it is killed, and says on stdout when a task begins."""

from __future__ import annotations

import asyncio
import sys

from wopr import TaskQueue
from wopr.fleet import fleet, owner

owner.LEASE_SECONDS = 1.5
fleet.LOOK_SECONDS = 0.1


async def main(address: str) -> None:
    """Run tasks named ``hold``: each ends when a line comes on stdin."""
    queue = TaskQueue(enabled=True, database=address)

    @queue.task(name="hold")
    def hold() -> str:
        print("began", flush=True)
        return sys.stdin.readline().strip()

    await queue.start_workers("default", 1)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
