"""A Chromium, if this machine has one, and a dashboard of a small queue that it can look at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from playwright.sync_api import Browser, sync_playwright

from wopr import Settings, TaskQueue
from wopr.web import create_app

T = TypeVar("T")

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
NONE = (
    "THESE TESTS DID NOT RUN: no Chromium was found. Install one (apt-get install "
    "--no-install-recommends chromium), or name it: CHROMIUM=/path/to/chrome"
)


def chromium() -> str | None:
    """Return the path of a Chromium."""
    given = os.environ.get("CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def browser(path: str) -> Iterator[Browser]:
    """Start one that asks nobody else anything."""
    arguments = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield found
        finally:
            found.close()


class Served:
    """A dashboard, served from a thread with an event loop of its own."""

    def __init__(self, database: Path, prepare: Callable[[TaskQueue], Any]) -> None:
        self._database = database
        self._prepare = prepare
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="dashboard")
        self._failed: BaseException | None = None
        self.url = ""
        self.queue: TaskQueue

    def __enter__(self) -> Served:
        self._thread.start()
        self._ready.wait(60)
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(30)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the loop of the queue do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failed = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        settings = Settings(enabled=True, database=self._database, shutdown_seconds=0.2)
        self.queue = TaskQueue(settings=settings)
        async with self.queue:
            await self._prepare(self.queue)
            config = uvicorn.Config(
                create_app(self.queue), port=0, log_level="error", lifespan="off", ws="none"
            )
            self._server = _Telling(config, self._begun)
            await self._server.serve()

    def _begun(self) -> None:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()


class _Telling(uvicorn.Server):
    """A server that tells when it listens."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and tell."""
        await super().startup(sockets)
        self._begun()
