"""The tasks of the demo: what an application's own module of tasks looks like.

``scan`` looks at a file and enqueues ``parse`` for it; ``report`` sums the scans up.
The queue's file comes from ``WOPR_TASKS_DATABASE``.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from tenacity import retry_if_exception_type, wait_fixed

from wopr import TaskPriority, TaskQueue, current_task

SMALL_BYTES = 20_000
ONE_IN = 25  # files whose first read fails

queue = TaskQueue(enabled=True)


@dataclass(frozen=True)
class Scan:
    """What is known of a file without understanding it."""

    bytes: int
    lines: int
    sha256: str


@dataclass(frozen=True)
class Statistics:
    """What a file defines."""

    statements: int
    functions: int
    classes: int
    imports: int


@dataclass(frozen=True)
class Report:
    """What all scans found together."""

    files: int
    bytes: int
    lines: int
    longest: str


@queue.task(name="scan", category="scan", max_retries=3, retry=wait_fixed(0.3))
async def scan(path: str) -> Scan:
    """Measure a file and have it parsed, small files first.

    A worker can die after enqueueing and before this function has returned; then it runs
    again. The unique key keeps the second run from enqueueing a second parse while the
    first is waiting or running, and the look into the queue when it has ended already.
    """
    if current_task().attempt == 1 and zlib.crc32(path.encode()) % ONE_IN == 0:
        raise OSError("simulated: the disk did not answer")
    content = await asyncio.to_thread(Path(path).read_bytes)
    priority = TaskPriority.HIGH if len(content) < SMALL_BYTES else TaskPriority.NORMAL
    if current_task().attempt == 1 or not await was_parsed(path):
        await parse.options(priority=priority, unique_key=path).enqueue(path)
    return Scan(len(content), content.count(b"\n"), hashlib.sha256(content).hexdigest())


async def was_parsed(path: str) -> bool:
    """Ask the queue itself whether there is a parse of this file, ended or not."""
    query = "select count(*) from tasks where name = 'parse' and unique_key = ?"
    return bool((await queue.sql(query, path)).scalar())


@queue.task(
    name="parse",
    category="parse",
    max_retries=5,
    retry=[wait_fixed(0.3), retry_if_exception_type(SystemError)],
)
def parse(path: str) -> Statistics:
    """Count what a file defines; a sync function, so it runs in a thread.

    A file that is not valid Python raises SyntaxError: no retry could help, so it has none.
    SystemError is Python's own: 3.11 counts the depth of the syntax trees of all threads
    together and then refuses good files.
    """
    content = Path(path).read_bytes()
    tree = ast.parse(content, Path(path).name)
    found = Counter()
    found.visit_all(tree.body)
    return Statistics(found.statements, found.functions, found.classes, found.imports)


@queue.task(name="report", category="scan", priority=TaskPriority.LOW)
async def report() -> Report:
    """Sum the scans up with SQL. LOW: enqueued before them all, started after them all."""
    answer = await queue.sql(
        """
        select count(*), sum(bytes), sum(lines), arg_max(path, lines) from (
            select
                args ->> '$[0]' as path,
                cast(result ->> '$.bytes' as bigint) as bytes,
                cast(result ->> '$.lines' as bigint) as lines
            from tasks where name = 'scan' and status = 'success'
        )
        """
    )
    files, size, lines, longest = answer.rows[0]
    return Report(files, int(size or 0), int(lines or 0), longest or "")


class Counter:
    """Counts statements; expressions hold none, so they are not walked."""

    def __init__(self) -> None:
        self.statements = 0
        self.functions = 0
        self.classes = 0
        self.imports = 0

    def visit_all(self, body: list[ast.stmt]) -> None:
        """Count the statements and those within them."""
        waiting: list[ast.AST] = list(body)
        while waiting:
            node = waiting.pop()
            self.statements += isinstance(node, ast.stmt)
            self.functions += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            self.classes += isinstance(node, ast.ClassDef)
            self.imports += isinstance(node, ast.Import | ast.ImportFrom)
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(node, block, None)
                waiting += inner if isinstance(inner, list) else ()
