"""``wopr mcp``: a queue for assistants."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from wopr.cli.common import DEFAULT_DATABASE, Database, with_queue
from wopr.cli.errors import UsageError
from wopr.queue.queue import TaskQueue

AllowActs = Annotated[
    bool,
    typer.Option(
        "--allow-acts",
        help="Have tools that change something: each previews first, and is noted among the acts.",
    ),
]
AllowSql = Annotated[
    bool,
    typer.Option("--allow-sql", help="Have a tool that asks the database in SQL, apart."),
]


def mcp(
    allow_acts: AllowActs = False,
    allow_sql: AllowSql = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Answer an assistant over MCP, on standard input and output.

    It looks: status, explain, tasks, failures, statistics, schedules, workers, acts; and the
    documentation. It runs no tasks.
    """
    if find_spec("mcp") is None:
        raise UsageError("wopr mcp needs mcp, which is not installed: pip install 'wopr[mcp]'.")

    async def serve(queue: TaskQueue) -> None:
        from wopr.assistants.server import server_of

        server = server_of(queue, allow_acts=allow_acts, allow_sql=allow_sql)
        await server.run_stdio_async()

    with_queue(database, serve)
