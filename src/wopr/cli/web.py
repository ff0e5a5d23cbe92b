"""``wopr web``: the dashboard and the REST API of a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from wopr.cli.common import DATABASE_VARIABLE, require_file
from wopr.cli.declared import Argument, Option
from wopr.cli.errors import UsageError
from wopr.cli.kinds import FileName
from wopr.cli.output import say
from wopr.cli.target import load_queue
from wopr.config.settings import Settings
from wopr.core.accesstokens import access_tokens
from wopr.domain.address import Address, PostgresAddress, database_of
from wopr.domain.errors import InvalidCallError
from wopr.queue.queue import TaskQueue, inside
from wopr.service.appserver import AppServer, Place, check_proxies, place_at
from wopr.service.signals import Signals

DEFAULT_ADDRESS = "127.0.0.1:8800"

Target = Annotated[
    str | None,
    Argument(
        metavar="[MODULE:QUEUE]",
        help="A queue of the application, as in app.tasks:queue: then its functions are known, "
        "and what is enqueued is checked by them. Without it, the database alone.",
    ),
]
OneDatabase = Annotated[
    Path | None,
    Option(
        "--database",
        "-d",
        type=FileName(database_of),
        metavar="PATH",
        help=f"The database file. Default: {DATABASE_VARIABLE}, or wopr_tasks.duckdb.",
    ),
]
Listen = Annotated[
    str | None,
    Option(
        "--listen",
        "-l",
        metavar="HOST:PORT",
        help=f"Where. Default: WOPR_TASKS_WEB, or {DEFAULT_ADDRESS}.",
    ),
]
UnixSocket = Annotated[
    Path | None,
    Option(
        "--socket", metavar="PATH", help="On a unix socket, which only this user can open, instead."
    ),
]
Certificate = Annotated[
    Path | None, Option("--tls-cert", metavar="FILE", help="The certificate, as PEM.")
]
Key = Annotated[Path | None, Option("--tls-key", metavar="FILE", help="Its key, as PEM.")]
BehindProxy = Annotated[
    str | None,
    Option(
        "--behind-proxy",
        metavar="ADDRESSES",
        help="A proxy does TLS, from this address or network (several: commas between), and says "
        "who asks. Everybody needs a token then.",
    ),
]
RequireToken = Annotated[
    bool,
    Option("--require-token", help="Let nobody in without a token, on this machine either."),
]


def web(
    target: Target = None,
    database: OneDatabase = None,
    listen: Listen = None,
    unix_socket: UnixSocket = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
    behind_proxy: BehindProxy = None,
    require_token: RequireToken = False,
) -> None:
    """Serve the dashboard and the REST API until Ctrl-C or SIGTERM.

    It runs no tasks: workers do, here beside it or in other processes. On this machine, its user
    needs no token; everybody else does: `wopr token create`.
    """
    queue = _queue(target, database)
    given = {
        "web": listen,
        "web_tls_cert": tls_cert,
        "web_tls_key": tls_key,
        "web_proxies": behind_proxy,
        "web_loopback": "token" if require_token else None,
    }
    said = {name: value for name, value in given.items() if value is not None}
    settings = queue.settings.model_copy(update=said)
    asyncio.run(_serve(queue, Dashboard(queue, settings, unix_socket), there=target is None))


def _application(queue: TaskQueue, names: list[str], loopback: str) -> Any:
    from wopr.web.app import create_app

    return create_app(queue, hosts=names, loopback=loopback)


class Dashboard:
    """The application of a queue, served at a place, if that is safe.

    Args:
        queue: what it is about.
        settings: say where, and who gets in.
        unix_socket: where, instead.
        make: makes the application, of the queue, the names that requests may ask for, and who
            gets in without a token.
    """

    def __init__(
        self,
        queue: TaskQueue,
        settings: Settings,
        unix_socket: Path | None = None,
        make: Callable[[TaskQueue, list[str], str], Any] = _application,
    ) -> None:
        self._queue = queue
        self._place = place = _place(settings, unix_socket)
        loopback = "token" if place.proxies else settings.web_loopback
        names = [*settings.http_hosts.split(","), place.host]
        self._server = AppServer(lambda: make(queue, names, loopback), place)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidCallError: nothing can listen there, or it would be open to everybody.
        """
        place = self._place
        if place.beyond and place.certificate is None and not place.proxies:
            raise InvalidCallError(_NO_TLS.format(url=place.url))
        if (place.beyond or place.proxies) and not await access_tokens(inside(self._queue)):
            raise InvalidCallError(_NO_TOKENS.format(url=place.url))
        await self._server.start()

    async def stop(self) -> None:
        """Listen no more."""
        await self._server.stop()


def _queue(target: str | None, database: Path | None) -> TaskQueue:
    if target is None:
        path = database or Settings().database
        if isinstance(path, Address) and not isinstance(path, PostgresAddress):
            raise UsageError(
                f"{path} is the address of a queue that is served already: open it in a browser. "
                "To serve one, run `wopr web` on the machine that has its file, or its token is "
                "that of everybody who comes in here."
            )
        require_file(path)
        return TaskQueue(enabled=True, database=path)
    queue = load_queue(target)
    if not queue.enabled:
        raise UsageError(
            f"{target} is switched off, so there is nothing to show. Start it with "
            "WOPR_TASKS_ENABLED=1, or build the queue with TaskQueue(enabled=True)."
        )
    if database is not None and queue.database != database.absolute():
        raise UsageError(
            f"{target} names its own database, {queue.database}: --database {database} can't "
            "change it. Leave the option out."
        )
    return queue


def _place(settings: Settings, unix_socket: Path | None) -> Place:
    certificate, key = settings.web_tls_cert, settings.web_tls_key
    if (certificate is None) is not (key is None):
        raise UsageError(
            "TLS needs a certificate and its key, and one of them is not given (--tls-cert, "
            "--tls-key; WOPR_TASKS_WEB_TLS_CERT, WOPR_TASKS_WEB_TLS_KEY)."
        )
    tls: Any = {
        "certificate": certificate,
        "key": key,
        "proxies": check_proxies(settings.web_proxies),
    }
    if unix_socket is not None:
        return Place(socket=unix_socket.absolute(), **tls)
    return place_at(settings.web or DEFAULT_ADDRESS, **tls)


async def _serve(queue: TaskQueue, dashboard: Dashboard, *, there: bool) -> None:
    """Serve until a signal comes; ``there``: a queue that is none yet is refused, not made."""
    stopped = asyncio.Event()
    if there:
        await inside(queue).existing()
    async with queue:
        await dashboard.start()
        signals = Signals(stopped.set)
        try:
            say(f"{dashboard.url} has the dashboard of {queue.database}. Stop with Ctrl-C.")
            await stopped.wait()
        finally:
            await dashboard.stop()
            signals.give_back()


_NO_TLS = (
    "{url} can be reached from other machines, and tokens would travel there for everybody to "
    "read. Give --tls-cert and --tls-key (WOPR_TASKS_WEB_TLS_CERT, WOPR_TASKS_WEB_TLS_KEY); or let "
    "a proxy do TLS, and name its address: --behind-proxy 10.0.0.5 (WOPR_TASKS_WEB_PROXIES). To "
    "look from one other machine, stay on this one: ssh -L 8800:127.0.0.1:8800"
)
_NO_TOKENS = (
    "{url} can be reached from elsewhere, and there is no token, so nobody could come in. Make one "
    "first: wopr token create NAME --role read|operate|admin"
)
