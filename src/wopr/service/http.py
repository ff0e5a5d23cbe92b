"""Health, readiness and metrics of a queue over HTTP, on the queue's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from wopr.config.forks import close_in_children, take_away_sockets
from wopr.config.hangup import hang_up
from wopr.domain.errors import InvalidCallError
from wopr.domain.hosts import REFUSAL, is_meant
from wopr.domain.jsontext import shown
from wopr.queue.queue import TaskQueue
from wopr.service.health import Health
from wopr.service.listening import listen_on
from wopr.service.metrics import Metrics, NotCountedError

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
CLOSE_SECONDS = 0.5
"""Answers under way get so long when the server closes."""
CONNECTION_SECONDS = 30.0
"""A connection lives so long: who sends a request byte by byte must not hold it for ever."""
MOST_CONNECTIONS = 100
"""If there are more, the oldest is closed: each is an open file of the worker."""


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of ``port``, ``host:port`` or ``[host]:port``.

    A port alone is one of this machine only, 127.0.0.1. To be asked from elsewhere, as in a
    container, name the host: ``0.0.0.0:8080``. Port 0 takes a free one.

    Raises:
        InvalidCallError: it is none of these.
    """
    host, _, port = str(address).strip().rpartition(":")
    name = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    brackets = host.startswith("[") == host.endswith("]")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536 and brackets) or (
        ":" in name and name == host
    ):
        raise InvalidCallError(
            f"{shown(address)} is no address to serve HTTP at: write a port, or host:port, as in "
            "8080, 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080 (--http, WOPR_TASKS_HTTP)."
        )
    return name or LOOPBACK, int(port)


class HealthServer:
    """Serves ``/health``, ``/ready`` and ``/metrics`` of one queue.

    Args:
        queue: used on the event loop that the server is started on. It need not be open yet,
            and is never opened by a question.
        address: see :func:`parse_address`.
        dashboard: returns where the dashboard is, if it is known.

    ``async with HealthServer(queue, "8080"):`` starts and stops it. It takes no signals and
    changes no logging. What it tells is about the work as a whole: names and numbers, never
    arguments, results or settings.

    Raises:
        InvalidCallError: the address can't be one, or packages are missing.
    """

    def __init__(
        self,
        queue: TaskQueue,
        address: str,
        dashboard: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.host, self.port = parse_address(address)
        for package in ("starlette", "uvicorn"):
            if find_spec(package) is None:
                raise InvalidCallError(
                    f"Serving health over HTTP needs {package}, which is not installed: "
                    "pip install 'wopr[service]'."
                )
        self._names = tuple(filter(None, map(str.strip, queue.settings.http_hosts.split(","))))
        self._dashboard = dashboard
        self._health = Health(queue)
        self._metrics: Metrics | None = None
        self._no_metrics = ""
        try:
            self._metrics = Metrics(queue)
        except InvalidCallError as error:  # health is worth serving without
            self._no_metrics = f"{error}\n"
        self._server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens; with the real port, once it is started."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def drain(self) -> None:
        """Answer ``/ready`` with 503 from now on: the process is about to stop."""
        self._health.drain()

    async def start(self) -> None:
        """Listen, and begin to count.

        Raises:
            InvalidCallError: nothing can listen there.
        """
        listener = self._listen()
        try:
            if self._metrics is not None:
                self._metrics.attach()
            self._server = await _serve(self._app(), listener)
        except BaseException:
            listener.close()
            await self.stop()
            raise
        self.port = listener.getsockname()[1]
        close_in_children(self)

    def forget(self) -> None:
        """Leave the port to the process that this one was forked from."""
        if self._server is not None:
            take_away_sockets(self._is_own)

    def _is_own(self, found: socket.socket) -> bool:
        internet = found.family in (socket.AF_INET, socket.AF_INET6)
        return internet and found.getsockname()[1] == self.port

    def _listen(self) -> socket.socket:
        try:
            return listen_on(self.host, self.port)
        except OSError as error:
            raise InvalidCallError(
                f"Nothing can listen on {self.host}:{self.port}: {error}. Free the port, or choose "
                "another one with --http or WOPR_TASKS_HTTP; 0 takes any that is free."
            ) from error

    async def stop(self) -> None:
        """Listen no more; answers under way get half a second. Idempotent."""
        await self._health.close()  # what waits for the storage answers now
        server, self._server = self._server, None
        if server is not None:
            await close_server(server)
        if self._metrics is not None:
            await self._metrics.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # -- what it answers --------------------------------------------------------

    def _app(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.routing import Route

        app = Starlette(
            routes=[
                Route("/", self._checked(self._answer_root)),
                Route("/health", self._checked(self._answer_health)),
                Route("/ready", self._checked(self._answer_ready)),
                Route("/metrics", self._checked(self._answer_metrics)),
            ]
        )
        app.router.redirect_slashes = False  # a redirect would lead where the Host header says
        return app

    def _checked(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers only requests that are meant for this server."""

        async def checked(request: Request) -> Response:
            if is_meant(request.headers.getlist("host"), self.host, self._names):
                return await answer(request)
            return _text(REFUSAL, 400)

        return checked

    async def _answer_root(self, request: Request) -> Response:
        found = self._dashboard()
        where = (
            f"The dashboard is at {found}"
            if found
            else "There is no dashboard here. Serve one: `wopr web`, or `wopr worker --web 8800`."
        )
        return _text(f"{where}\nHere are /health, /ready and /metrics.\n", 200)

    async def _answer_health(self, request: Request) -> Response:
        problem = await self._health.problem()
        if problem is None:
            return _json({"status": "ok"})
        return _json({"status": "failed", "reasons": [problem]}, 503)

    async def _answer_ready(self, request: Request) -> Response:
        reasons = await self._health.obstacles()
        if not reasons:
            return _json({"status": "ready", **self._journal()})
        return _json({"status": "not ready", "reasons": reasons, **self._journal()}, 503)

    def _journal(self) -> dict[str, object]:
        journal = self._health.journal()
        return {"journal": journal} if journal else {}

    async def _answer_metrics(self, request: Request) -> Response:
        if self._metrics is None:
            return _text(self._no_metrics, 501)
        try:
            text = await self._metrics.text()
        except NotCountedError as error:
            return _text(f"{error}\n", 503)
        return _text(text, 200, importlib.import_module("prometheus_client").CONTENT_TYPE_LATEST)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(body, status, headers={"cache-control": "no-store"})


def _text(body: str | bytes, status: int, kind: str = "text/plain; charset=utf-8") -> Response:
    from starlette.responses import Response

    return Response(body, status, headers={"cache-control": "no-store", "content-type": kind})


# -- uvicorn ----------------------------------------------------------------------


async def _serve(app: Starlette, listener: socket.socket) -> uvicorn.Server:
    """Start uvicorn's server without its loop, which takes signals and wakes up all the time."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Quiet(H11Protocol):
        """Logs no requests, as there is one every few seconds; bounds what callers can hold."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.access_log = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.end = self.loop.call_later(CONNECTION_SECONDS, self.shutdown)
            all_of_them = cast("set[Quiet]", self.connections)
            if len(all_of_them) > MOST_CONNECTIONS:
                hang_up(min(all_of_them, key=lambda one: one.end.when()).transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self.end.cancel()
            super().connection_lost(exc)

    config = uvicorn.Config(
        app,
        http=Quiet,
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    return server


async def close_server(server: uvicorn.Server) -> None:
    """Listen no more; answers under way get half a second."""
    state = server.server_state
    for listening in server.servers:
        listening.close()
    for connection in list(state.connections):
        connection.shutdown()  # closes it after the answer that is under way, if there is one
    if state.tasks:
        _, late = await asyncio.wait(set(state.tasks), timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*late, return_exceptions=True)
    for connection in list(state.connections):
        hang_up(connection.transport)
