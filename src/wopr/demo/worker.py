"""The demo's worker process: enqueue what stdin names, work until nothing is left.

It tells its parent how far it is in lines of JSON on stdout. Started with an empty
stdin it finishes what an earlier worker left.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import warnings
from typing import Any

from wopr.demo.tasks import queue, report, scan

WORKERS = {"scan": 4, "parse": 2}
TELL_SECONDS = 0.1

_COUNTS = "select category, status, count(*) as tasks from tasks group by all order by all"


async def work(paths: list[str]) -> None:
    """Enqueue the paths, then run the tasks until all have ended."""
    async with queue:
        if paths:
            await report.enqueue()
            await scan.enqueue_many([(path,) for path in paths])
            tell("enqueued", files=len(paths))
        for category, count in WORKERS.items():
            await queue.start_workers(category, count)
        while True:
            if not await tell_counts():
                break
            await asyncio.sleep(TELL_SECONDS)
    tell("finished")


async def tell_counts() -> int:
    """Tell how many tasks there are by category and status; return how many are live."""
    counts: dict[str, dict[str, int]] = {}
    for row in await queue.sql(_COUNTS):
        counts.setdefault(row["category"], {})[row["status"]] = row["tasks"]
    tell("progress", counts=counts)
    live = ("pending", "retry", "started")
    return sum(counts[category].get(status, 0) for category in counts for status in live)


class TellingHandler(logging.Handler):
    """Tells what the queue logs, such as that it recovered tasks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message as one line to the parent."""
        tell("log", text=record.getMessage())


def tell(event: str, **values: Any) -> None:
    """Write one line to the parent; if that is gone, the error ends this process too."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of the parsed files, not of ours
    logging.getLogger("wopr").addHandler(TellingHandler())
    asyncio.run(work(sys.stdin.read().splitlines()))
