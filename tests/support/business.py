"""A business API on this machine, over real HTTP, that can hold an answer back."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from support.queues import PATIENCE

CLEANUP = "/api/v1/admin/cleanup"
PENDING = "/api/v1/notifications?status=pending"


def send_path(notification: str) -> str:
    """Return where a notification is sent."""
    return f"/api/v1/notifications/{notification}/send"


class Called(NamedTuple):
    """A request that came."""

    path: str
    key: str | None


@dataclass
class BusinessApi:
    """Keeps what it was asked, and does nothing twice for the same key."""

    url: str = ""
    pending: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Paths that are answered with 400."""
    calls: list[Called] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """Paths of what was done, once for each key."""
    news: threading.Condition = field(default_factory=threading.Condition)
    _held: dict[str, threading.Event] = field(default_factory=dict)
    _keys: set[str | None] = field(default_factory=set)

    def of(self, path: str, key: str | None = None) -> list[Called]:
        """Return the calls of a path, all or those with a key."""
        return [call for call in self.calls if call.path == path and key in {None, call.key}]

    def wait(self, path: str, count: int = 1, key: str | None = None) -> list[Called]:
        """Wait until so many calls have come, and return them."""
        with self.news:
            came = self.news.wait_for(lambda: len(self.of(path, key)) >= count, PATIENCE)
        assert came, f"{path} (key {key}) was not called {count} times but: {self.calls[-20:]}"
        return self.of(path, key)

    @contextlib.contextmanager
    def holding(self, path: str) -> Iterator[Called]:
        """Answer the next call of a path only after the block; give that call."""
        with self.news:
            before = len(self.of(path))
            self._held[path] = released = threading.Event()
        try:
            yield self.wait(path, before + 1)[before]
        finally:
            with self.news:
                del self._held[path]
            released.set()

    def answer(self, path: str, key: str | None) -> tuple[int, object]:
        """Return the status and the body for a call, perhaps later."""
        with self.news:
            self.calls.append(Called(path, key))
            self.news.notify_all()
            held = self._held.get(path)
        if held is not None:
            held.wait(PATIENCE)
        with self.news:
            if path == PENDING:
                return 200, [{"id": notification} for notification in self.pending]
            if path in self.refused:
                return 400, None
            if key not in self._keys:
                self._keys.add(key)
                self.done.append(path)
            self.pending = [one for one in self.pending if send_path(one) != path]
            return 200, None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who asked may be gone, which is what the tests are about."""


@contextlib.contextmanager
def business_api() -> Iterator[BusinessApi]:
    """Give a running API."""
    api = BusinessApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = api.answer(self.path, self.headers.get("Idempotency-Key"))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join(PATIENCE)
