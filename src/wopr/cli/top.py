"""``wopr top``: the dashboard in a terminal."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Annotated

from wopr.cli.common import DEFAULT_DATABASE, Database, with_queue
from wopr.cli.declared import Option
from wopr.cli.errors import UsageError
from wopr.queue.face import inside
from wopr.queue.queue import TaskQueue


def top(
    database: Database = DEFAULT_DATABASE,
    read_only: Annotated[
        bool, Option("--read-only", help="Only look: no key changes anything.")
    ] = False,
) -> None:
    """Watch what flows, what does not and why, and act on it: pause, cancel, retry, undo.

    It asks the process that has the database open, every second. Where no process has, it only
    looks. Press ? for its keys.
    """
    if find_spec("textual") is None:
        raise UsageError(
            "wopr top needs textual, which is not installed: pip install 'wopr[top]'. Without it: "
            "wopr status, wopr stats, wopr tasks list."
        )
    if not all(one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError(
            "wopr top draws on a terminal, and standard input, output or error is none. For "
            "scripts: wopr status --json, wopr stats --json."
        )
    from wopr.tui.app import Top
    from wopr.tui.reading import Reader

    async def watch(queue: TaskQueue) -> None:
        clock = inside(queue).time
        await Top(queue, Reader(queue, clock), clock, read_only=read_only).run_async()

    with_queue(database, watch)
