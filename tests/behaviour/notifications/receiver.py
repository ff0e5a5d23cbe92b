"""A real HTTP server on this machine that is sent notifications."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.queues import PATIENCE


@dataclass
class Request:
    """What somebody has posted."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Answers what it is told to, and 200 from then on; keeps what it was sent."""

    port: int = 0
    answers: deque[int] = field(default_factory=deque)
    endless: bool = False
    """Whether the body of an answer has no end."""
    requests: list[Request] = field(default_factory=list)
    given_up: threading.Event = field(default_factory=threading.Event)
    """Set when somebody has closed the connection in the middle of an endless body."""
    silence: threading.Event | None = None
    """If there is one: nothing is answered before it is set."""
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def wait(self, count: int) -> list[Request]:
        """Wait until so many requests have come."""

        def wait() -> bool:
            with self.arrived:
                return self.arrived.wait_for(lambda: len(self.requests) >= count, PATIENCE)

        assert await asyncio.to_thread(wait), f"{len(self.requests)} of {count} requests came"
        return self.requests


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """Give a running server."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with receiver.arrived:
                receiver.requests.append(Request(self.path, dict(self.headers), body))
                status = receiver.answers.popleft() if receiver.answers else 200
                receiver.arrived.notify_all()
            if receiver.silence is not None:
                receiver.silence.wait(PATIENCE)
            with contextlib.suppress(OSError):  # who asked may be gone
                self.answer(status)

        def answer(self, status: int) -> None:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.url("/elsewhere"))
            if not receiver.endless:
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65_536)
            except OSError:
                receiver.given_up.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
