"""Whatever names, arguments, errors and reasons say: no page and no answer does what they mean.

Every route of the application is asked, so that a new page is, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from starlette.applications import Starlette

from support.hostile import EVERYTHING, LABELS, harm_of_page, visits
from support.webapp import ROUTES as ROUTES_OF_ALL
from wopr import TaskFailedError, TaskQueue, current_task
from wopr.domain.clock import SystemClock
from wopr.notifications.alertbook import AlertBook
from wopr.web import create_app
from wopr.web.guard.sessions import CSRF_COOKIE

PATIENCE = 60.0
CSRF = "0" * 64
SECRET = "canary-4711-canary"
log = logging.getLogger("hostile")
QUERY_NAMES = (
    *("q", "name", "category", "status", "error", "tag", "flow", "schedule", "ids", "where"),
    *("reason", "verb", "sort", "at", "cursor", "before", "fingerprint", "about", "target", "next"),
    *("task", "since", "until", "text", "group", "key", "to", "by", "priority", "id", "number"),
)
"""What a hostile text is given as, in a query and in a form."""


ROUTES = [(method, path) for method, path in ROUTES_OF_ALL if path != "/api/v1/carry"]
"""All but that of clients, which speak in their own words."""


class Hostile:
    """A queue in which every text means harm, and its application, asked as a browser asks."""

    def __init__(self, database: Path) -> None:
        self.queue = TaskQueue(enabled=True, database=database)
        self.app: Starlette = create_app(self.queue)
        self.known: dict[str, list[str]] = {}

    async def fill(self) -> None:
        """Enqueue, run, fail, pause and plan under every name."""
        for at, label in enumerate(LABELS):
            self.queue.register_task(label, category=label, max_retries=0)(_work)
            await self.queue.start_workers(label, 1)
            for fails in (False, True):
                options = {"tags": [label]} if at % 2 else {}
                handle = await self.queue.enqueue(
                    label, (EVERYTHING, fails), {"password": SECRET}, **options
                )
                with contextlib.suppress(TaskFailedError):
                    await handle.result(timeout=PATIENCE)
                self.known.setdefault("id", []).append(handle.id)
        for label in LABELS:
            await self.queue.pause(label, reason=label)
            await self.queue.set_limit(label, concurrency=2)
            await self.queue.enqueue(label, (label, False))
            await self.queue.schedules.add(label, task=label, every=3_600)
            await self.queue.schedules.pause(label, reason=label)
            await AlertBook(self.queue, SystemClock()).add(
                label, when="slow", threshold=9, task=label
            )
            await self.queue.tasks.where(name=label, status="pending").cancel(reason=label)
        self.known["name"] = [quote(label, safe="") for label in LABELS]
        self.known["number"] = ["1"]
        self.known["id"] = self.known["id"][:6]
        self.known["path"] = self.known["name"]

    async def ask(self, method: str, target: str, body: bytes, kind: str) -> tuple[int, str, str]:
        """Return status, type and text of an answer; of one that goes on, its first part."""
        path, _, query = target.partition("?")
        headers = {
            b"host": b"127.0.0.1:8800",
            b"accept": b"text/html",
            b"cookie": f"{CSRF_COOKIE}_8800={CSRF}".encode(),
            b"x-csrf-token": CSRF.encode(),
            b"content-type": kind.encode(),
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": list(headers.items()),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8800),
            "root_path": "",
        }
        sent: asyncio.Queue[Any] = asyncio.Queue()
        requests = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.Event()

        async def receive() -> Any:
            if not requests:
                await gone.wait()
            return requests.pop() if requests else {"type": "http.disconnect"}

        answering = asyncio.ensure_future(self.app(scope, receive, sent.put))
        try:
            async with asyncio.timeout(PATIENCE):
                return await _answer(sent, answering)
        finally:
            gone.set()
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering


async def _answer(sent: asyncio.Queue[Any], answering: asyncio.Future[Any]) -> tuple[int, str, str]:
    first = asyncio.ensure_future(sent.get())
    await asyncio.wait({first, answering}, return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        answering.result()  # it says what went wrong
    start = await first
    headers = {name.lower(): value.decode() for name, value in start["headers"]}
    assert b"content-security-policy" in headers
    assert "nosniff" == headers[b"x-content-type-options"]
    kind = headers.get(b"content-type", "")
    text = b""
    while True:
        part = await sent.get()
        text += part.get("body", b"")
        if not part.get("more_body") or (kind.startswith("text/event-stream") and text):
            return start["status"], kind, text.decode()


def _work(text: str = EVERYTHING, fails: bool = False, password: str = "") -> str:
    current_task().progress(50, f"{text} password={password}")
    log.error("%s password=%s", text, password)
    if fails:
        raise ValueError(f"{text} password={password}")
    return text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give what asks the application, on one event loop for all tests."""
    with asyncio.Runner() as runner:
        made = Hostile(tmp_path_factory.mktemp("hostile") / "queue.duckdb")
        runner.run(made.fill())
        yield lambda *asked: runner.run(made.ask(*asked)), made.known
        runner.run(made.queue.shutdown(0))


def check(answer: tuple[int, str, str], asked: str) -> None:
    """Refuse an answer that does what somebody's text means."""
    status, kind, text = answer
    assert SECRET not in text, asked
    assert status < 500 or status == 503, f"{asked}: {status} {text[:500]}"
    if kind.startswith("application/") and "json" in kind:
        json.loads(text or "null")
    elif kind.startswith(("text/html", "text/event-stream", "image/svg")):
        assert [] == harm_of_page(text), asked
    else:
        assert kind.startswith(("text/plain", "text/csv", "text/css", "")), f"{asked}: {kind}"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_answer_does_what_a_text_means(hostile: Any, method: str, path: str) -> None:
    ask, known = hostile
    api = path.startswith("/api/")
    query = urlencode({name: LABELS[at % len(LABELS)] for at, name in enumerate(QUERY_NAMES)})
    for target in visits(path, known):
        if method == "GET":
            check(ask(method, target, b"", ""), target)
    target = visits(path, known)[0]
    if method == "GET":
        for label in LABELS[:4]:
            asked = f"{target}?{urlencode(dict.fromkeys(('q', 'name', 'error'), label))}"
            check(ask(method, asked, b"", ""), asked)
        check(ask(method, f"{target}?{query}", b"", ""), f"{target}?…")
    elif api:
        body = json.dumps(dict.fromkeys(QUERY_NAMES, LABELS[0])).encode()
        check(ask(method, target, body, "application/json"), f"{method} {target}")
    else:
        for label in LABELS[:4]:
            body = urlencode(dict.fromkeys(QUERY_NAMES, label)).encode()
            asked = ask(method, target, body, "application/x-www-form-urlencoded")
            check(asked, f"{method} {target} {label}")


def test_what_finds_harm_finds_it() -> None:
    for text in (
        "<script>1</script>",
        "<p onclick=x>",
        "<x-evil>",
        "<p style='a'>",
        "<a href='javascript:x'>",
        "<a href='//evil'>",
        "<form action='https://evil'>",
        "<p hx-get='//evil'>",
        "<p>\u202e</p>",
        "<p>54439</p>",
        "<p hx-on:click='x'>",
        "<svg><a xlink:href='data:x'></svg>",
        "<p title='\x1b'>",
        "<base href='/'>",
        "<script src='//evil/static/x.js'></script>",
    ):
        assert harm_of_page(text), text
    good = (
        "<script src='/static/1/a.js'></script><a href='/tasks?name=%3Cx-evil%3E'>&lt;x-evil></a>"
    )
    assert [] == harm_of_page(good)
