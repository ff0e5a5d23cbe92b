"""Serves an ASGI application on the event loop of a queue, on a port or on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wopr.config.forks import close_in_children, take_away_sockets
from wopr.domain.errors import InvalidCallError
from wopr.domain.hosts import is_loopback
from wopr.domain.jsontext import shown
from wopr.service.http import close_server, parse_address
from wopr.service.listening import listen_on

if TYPE_CHECKING:
    import uvicorn


_END = {"type": "http.response.body", "body": b"", "more_body": False}
_STOPS = {"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"1")]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an application is served."""

    host: str = ""
    port: int = 0
    socket: Path | None = None
    """A unix socket, instead."""
    certificate: Path | None = None
    key: Path | None = None
    """For TLS; ``None``: without."""
    proxies: str = ""
    """Addresses of proxies, separated by commas, that say who asks, and whether by TLS."""

    @property
    def beyond(self) -> bool:
        """Whether other machines can connect."""
        return self.socket is None and not is_loopback(self.host)

    @property
    def url(self) -> str:
        """What a browser opens; of a unix socket, its path."""
        if self.socket is not None:
            return str(self.socket)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{self.port}"


def check_proxies(text: str) -> str:
    """Return addresses and networks, separated by commas, if they are that.

    Raises:
        InvalidCallError: one is none; a name is none either.
    """
    for one in filter(None, map(str.strip, text.split(","))):
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise InvalidCallError(
                f"{shown(one)} is no address of a proxy, and no network of such: write for example "
                "10.0.0.5 or 10.0.0.0/24, several with commas between (--behind-proxy, "
                "WOPR_TASKS_WEB_PROXIES)."
            ) from None
    return text


def place_at(address: str, **more: Any) -> Place:
    """Return a place at a port of this machine, or at ``host:port``.

    Raises:
        InvalidCallError: it is none.
    """
    host, port = parse_address(address)
    return Place(host=host, port=port, **more)


class AppServer:
    """Serves one application; takes no signals and changes no logging.

    Args:
        make: returns the application; called when the packages that it needs are found.
        place: where.

    Raises:
        InvalidCallError: packages are missing.
    """

    def __init__(self, make: Callable[[], Any], place: Place) -> None:
        for package in ("starlette", "uvicorn", "jinja2", "python_multipart", "sse_starlette"):
            if find_spec(package) is None:
                raise InvalidCallError(
                    f"The dashboard and REST need {package}, which is not installed: "
                    "pip install 'wopr[web]'."
                )
        self._app = make()
        self._place = place
        self._server: uvicorn.Server | None = None
        self._port = place.port

    @property
    def url(self) -> str:
        """Where it listens; with the real port, once it is started."""
        place = self._place
        if place.port or not self._port:
            return place.url
        return place.url.removesuffix(":0") + f":{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidCallError: nothing can listen there, or the certificate can't be used.
        """
        config = self._config()
        listener = self._listen()
        try:
            self._server = await _started(config, listener)
        except BaseException:
            listener.close()
            raise
        if self._place.socket is None:
            self._port = listener.getsockname()[1]
        close_in_children(self)

    async def stop(self) -> None:
        """Listen no more; answers under way get half a second. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await close_server(server)
            if self._place.socket is not None:
                self._place.socket.unlink(missing_ok=True)

    async def _until_stopped(self, scope: Any, receive: Any, send: Any) -> None:
        """Have a request answered; what has no end by itself ends when this server stops."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if self._server is not None:
                raise
            for message in (_END, _STOPS, _END):
                with contextlib.suppress(RuntimeError):  # what has begun is ended, and not begun
                    await send(message)

    def forget(self) -> None:
        """Leave the port to the process that this one was forked from."""
        if self._server is not None:
            take_away_sockets(self._is_own)

    def _is_own(self, found: socket.socket) -> bool:
        if self._place.socket is not None:
            return found.family == socket.AF_UNIX and found.getsockname() == str(self._place.socket)
        internet = found.family in (socket.AF_INET, socket.AF_INET6)
        return internet and found.getsockname()[1] == self._port

    def _listen(self) -> socket.socket:
        place = self._place
        try:
            if place.socket is not None:
                return _listen_at(place.socket)
            return listen_on(place.host, place.port)
        except OSError as error:
            raise InvalidCallError(
                f"Nothing can listen at {place.url}: {error}. Free it, or choose another place: "
                "--listen or --socket of wopr web, --web of wopr worker, WOPR_TASKS_WEB; port 0 "
                "takes any that is free."
            ) from error

    def _config(self) -> uvicorn.Config:
        import uvicorn

        from wopr.service.connections import IDLE_SECONDS, MOST_HEAD_BYTES, Bounded

        place = self._place
        config = uvicorn.Config(
            self._until_stopped,
            interface="asgi3",
            http=Bounded,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=bool(place.proxies),
            forwarded_allow_ips=place.proxies or None,
            server_header=False,
            date_header=False,
            workers=1,
            timeout_keep_alive=int(IDLE_SECONDS),
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            ssl_certfile=place.certificate,
            ssl_keyfile=place.key,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            raise InvalidCallError(
                f"TLS with the certificate {place.certificate} and the key {place.key} can't be "
                f"served: {error}. Both are files in PEM form, and the key is the certificate's "
                "(--tls-cert, --tls-key)."
            ) from error
        return config


def _listen_at(path: Path) -> socket.socket:
    """Listen on a unix socket that only this user can open; in the place of one nobody listens on.

    Raises:
        OSError: something else is there, or somebody listens.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        listener.bind(str(path))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "nobody else can connect"
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


async def _started(config: uvicorn.Config, listener: socket.socket) -> uvicorn.Server:
    """Start uvicorn's server without its loop, which takes signals and wakes up all the time."""
    import uvicorn

    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    return server
