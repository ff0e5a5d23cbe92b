"""``wopr worker --reload``: run the worker again when the code changes, for development."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wopr.domain.errors import WoprError

if TYPE_CHECKING:
    from watchfiles.main import FileChange

log = logging.getLogger("wopr.reload")


class Reloader:
    """A parent that keeps one worker process running, and replaces it when files change.

    The worker is stopped as by a deploy: with SIGTERM, so that it drains. It is in a
    process group of its own: of a Ctrl-C it gets the one signal that the parent sends.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = list(command)
        self._folder = folder
        self._child: asyncio.subprocess.Process | None = None
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal comes; return the exit code of the last worker.

        Raises:
            WoprError: the package that watches files is not installed.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        code = 0
        async with contextlib.aclosing(self._watch()) as changes:
            changed = asyncio.create_task(_next(changes))
            await asyncio.sleep(0)  # the watch begins before the code is imported
            log.info("Watching %s for changes of Python files.", self._folder)
            while not self._stop.is_set():
                ended = asyncio.create_task(self._start())
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done() and not self._stop.is_set():
                    log.warning(
                        "The worker ended with exit code %d; it starts again when a file changes.",
                        ended.result(),
                    )
                found = await changed
                if not self._stop.is_set():
                    names = sorted({Path(path).name for _, path in found})
                    log.info("Changed: %s. Restarting the worker.", ", ".join(names))
                    changed = asyncio.create_task(_next(changes))
                    self._terminate()
                code = await ended
            await changed
        return max(code, 0)  # less is the signal that ended it

    async def _start(self) -> int:
        """Run a worker to its end; return its exit code."""
        self._child = child = await asyncio.create_subprocess_exec(
            *self._command, process_group=0, stdin=asyncio.subprocess.DEVNULL
        )
        if self._stop.is_set():  # the signal came while it started
            self._terminate()
        return await child.wait()

    def _watch(self) -> AsyncGenerator[set[FileChange], None]:
        try:
            from watchfiles import PythonFilter, awatch
        except ImportError as error:
            raise WoprError(
                "--reload needs a package that watches files. "
                "Install it: pip install 'wopr[service]'"
            ) from error
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # names are said below
        return awatch(self._folder, watch_filter=PythonFilter(), stop_event=self._stop)

    def _signalled(self) -> None:
        self._stop.set()
        self._terminate()

    def _terminate(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()


async def _next(changes: AsyncGenerator[set[FileChange], None]) -> set[FileChange]:
    """Return the next changes; nothing when the watch has ended."""
    return await anext(changes, set())
