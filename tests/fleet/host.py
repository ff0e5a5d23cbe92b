"""A host of a fleet, for tests: works until it is killed, and says on stdout what happens to it.

``ready``: it has a worker; ``began``: a task begins; ``ignored``: an outcome came too late.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from wopr import TaskQueue
from wopr.fleet import fleet, owner

owner.LEASE_SECONDS = 1.5
fleet.LOOK_SECONDS = 0.1


class Saying(logging.Handler):
    """Says when the outcome of an attempt was refused, since its task was taken from here."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of who writes outcomes."""
        if "its outcome is ignored" in record.msg:
            print("ignored", flush=True)


async def main(address: str) -> None:
    """Run tasks named ``hold``: each ends when a line comes on stdin."""
    settling = logging.getLogger("wopr.fleet.settling")
    settling.setLevel(logging.INFO)
    settling.addHandler(Saying())
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
