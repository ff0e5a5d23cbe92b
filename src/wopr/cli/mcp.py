"""``wopr mcp``: a queue for assistants."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Annotated, Any

from wopr.cli.common import DEFAULT_DATABASE, Database, with_queue
from wopr.cli.declared import Option
from wopr.cli.errors import UsageError
from wopr.cli.output import say
from wopr.cli.web import BehindProxy, Certificate, Dashboard, Key, RequireToken
from wopr.domain.errors import WoprError
from wopr.queue.queue import TaskQueue
from wopr.service.signals import Signals

AllowActs = Annotated[
    bool,
    Option(
        "--allow-acts",
        help="Have tools that change something: each previews first, and is noted among the acts.",
    ),
]
AllowSql = Annotated[
    bool,
    Option("--allow-sql", help="Have a tool that asks the database in SQL, apart."),
]
Http = Annotated[
    str | None,
    Option(
        "--http",
        metavar="HOST:PORT",
        help="Serve at this address, below /mcp, instead of standard input and output. A port "
        "alone is one of this machine.",
    ),
]


def mcp(
    allow_acts: AllowActs = False,
    allow_sql: AllowSql = False,
    http: Http = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
    behind_proxy: BehindProxy = None,
    require_token: RequireToken = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Answer an assistant over MCP, on standard input and output or over HTTP.

    It looks: status, explain, tasks, failures, statistics, schedules, workers, acts; and the
    documentation. It runs no tasks. Over HTTP the user of this machine needs no token, and
    everybody else does: `wopr token create`.
    """
    if find_spec("mcp") is None:
        raise UsageError("wopr mcp needs mcp, which is not installed: pip install 'wopr[mcp]'.")
    given = {
        "web": http,
        "web_tls_cert": tls_cert,
        "web_tls_key": tls_key,
        "web_proxies": behind_proxy,
        "web_loopback": "token" if require_token else None,
    }
    said = {name: value for name, value in given.items() if value is not None}
    if said and http is None:
        raise UsageError("TLS, proxies and tokens are of --http: name an address with it.")

    async def serve(queue: TaskQueue) -> None:
        from wopr.assistants.asker import http_caller, this_user
        from wopr.assistants.server import server_of

        who = this_user if http is None else http_caller
        server = server_of(queue, who, allow_acts=allow_acts, allow_sql=allow_sql)
        if http is None:
            await server.run_stdio_async()
        else:
            await _serve(queue, server, said)

    with_queue(database, serve)


async def _serve(queue: TaskQueue, server: Any, said: dict[str, Any]) -> None:
    from wopr.assistants.served import PATH, http_app

    def guarded(queue: TaskQueue, names: list[str], loopback: str) -> Any:
        from wopr.web.guard.guard import Guard
        from wopr.web.guard.policy import policy_of

        return Guard(http_app(server), queue, policy_of(queue, None, names, loopback))

    dashboard = Dashboard(queue, queue.settings.model_copy(update=said), make=guarded)
    refused: WoprError | None = None
    async with server.session_manager.run():
        try:
            await dashboard.start()
            await _until_stopped(f"{dashboard.url}{PATH} answers assistants about {queue.database}")
        except WoprError as error:  # from in here it would come out as one of a group
            refused = error
        finally:
            await dashboard.stop()
    if refused is not None:
        raise refused


async def _until_stopped(said: str) -> None:
    stopped = asyncio.Event()
    signals = Signals(stopped.set)
    try:
        say(f"{said}. Stop with Ctrl-C.")
        await stopped.wait()
    finally:
        signals.give_back()
