"""A small database with something of everything, for pages and tools that read one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from support.queues import PATIENCE
from wopr import TaskPriority, TaskQueue, chain, group
from wopr.service.capture import keep_logs

log = logging.getLogger("example.reports")


class UnreachableError(Exception):
    """The mail server of the example does not answer."""


def _define(queue: TaskQueue) -> dict[str, Any]:
    failed_once: set[str] = set()

    @queue.task(name="send_mail", category="mail", priority=TaskPriority.HIGH, max_retries=2)
    async def send_mail(to: str) -> str:
        if to.endswith(".invalid"):
            raise UnreachableError(f"no mail server for {to}")
        return f"sent to {to}"

    @queue.task(name="build_report", category="reports", max_retries=0)
    def build_report(month: int) -> dict[str, int]:
        if not 1 <= month <= 12:
            log.warning("There is no month %d", month)
            raise ValueError(f"month {month} is not between 1 and 12")
        return {"month": month, "rows": month * 100}

    @queue.task(name="scan_file", category="scan", priority=TaskPriority.LOW, max_retries=1)
    async def scan_file(path: str) -> int:
        if path.endswith("flaky") and path not in failed_once:
            failed_once.add(path)
            raise OSError(f"{path} is busy")
        return len(path)

    return {"mail": send_mail, "report": build_report, "scan": scan_file}


async def seed(database: Path) -> None:
    """Fill ``database`` with tasks in every status but STARTED, in three categories."""
    async with TaskQueue(enabled=True, database=database) as queue:
        tasks = _define(queue)
        forget = keep_logs(queue)
        handles = [await tasks["mail"].enqueue(f"user{n}@example.org") for n in range(10)]
        handles += [await tasks["report"].enqueue(month) for month in range(1, 15)]
        handles += [await tasks["scan"].enqueue(f"/srv/{n}") for n in range(10)]
        for category in ("mail", "reports", "scan"):
            await queue.start_workers(category, 2)
        sums = chain(group(tasks["report"].s(1), tasks["report"].s(2)), tasks["mail"].si("a@b.c"))
        await (await queue.enqueue_flow(sums)).wait(timeout=PATIENCE)
        for handle in handles:
            await queue.wait(handle.id, timeout=PATIENCE)
        # These stay: a retry in its back-off, one cancelled, some not due, what waits for them.
        await tasks["mail"].enqueue("nobody@example.invalid")
        await tasks["scan"].enqueue("/srv/flaky")
        for n in range(3):
            report = await tasks["report"].options(delay=86_400).enqueue(n + 1)
        await tasks["mail"].options(depends_on=[report]).enqueue("boss@example.org")
        unwanted = await tasks["mail"].options(delay=3_600).enqueue("never@example.org")
        await unwanted.cancel()
        await queue.set_limit("reports", concurrency=2)
        await queue.pause("imports", reason="until the new schema is out")
        forget()
