"""``wopr worker``: run the tasks of an application until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from wopr.cli.common import DATABASE_VARIABLE, AsJson
from wopr.cli.errors import NO, OK, UsageError
from wopr.cli.output import clean, document
from wopr.cli.target import load_queue
from wopr.domain.clock import SystemClock
from wopr.domain.errors import StorageOwnedError
from wopr.engine.attempt import Attempt
from wopr.queue import TaskQueue

log = logging.getLogger("wopr.worker")

DEFAULT_WORKERS = 4
OWNED_SECONDS = 5.0
"""So long a worker waits for the process that has the file, before it gives up."""
FORCED_SECONDS = 3.0
"""After a second signal the process ends within this time, whatever the tasks do."""


Target = Annotated[
    str, typer.Argument(metavar="MODULE:QUEUE", help="The queue, as in app.tasks:queue.")
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        "-c",
        metavar="NAME:COUNT",
        help="Workers for a category; may be repeated. Without it, every category with "
        f"registered tasks gets {DEFAULT_WORKERS}.",
    ),
]
Grace = Annotated[
    float | None,
    typer.Option(
        "--grace",
        min=0,
        metavar="SECONDS",
        help="How long running tasks may go on after the first signal. "
        "Default: WOPR_TASKS_SHUTDOWN_SECONDS, or 10.",
    ),
]
OwnDatabase = Annotated[
    Path | None,
    typer.Option(
        "--database",
        "-d",
        metavar="PATH",
        help=f"The database file, for a queue that takes it from {DATABASE_VARIABLE}.",
    ),
]


def worker(
    target: Target,
    category: Categories = None,
    grace: Grace = None,
    database: OwnDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Run the tasks of a queue until SIGTERM or Ctrl-C.

    The first signal drains: nothing more is claimed, running tasks get the grace time,
    the rest goes back to its queue at no cost. The second interrupts at once.

    The queue must be switched on (WOPR_TASKS_ENABLED=1), in the worker as elsewhere.
    Exit code 0 after a drain, 1 when a second signal forced the end.
    """
    wanted = [_parse(item) for item in category or ()]
    if database is not None:
        os.environ[DATABASE_VARIABLE] = str(database)
    _start_logging()
    queue = load_queue(target)
    _check(queue, target, database)
    counts = dict(wanted) if wanted else dict.fromkeys(queue.categories, DEFAULT_WORKERS)
    if not counts:
        raise UsageError(
            f"{target} has no tasks registered, so there is nothing to run. Are the modules that "
            "define them imported there?"
        )
    run = _Run(queue, target, counts, grace)
    with _imports_frozen():
        summary = asyncio.run(run.until_stopped())
    if as_json:
        document(summary)
    code = NO if run.forced else OK
    _leave_threads(code)
    raise typer.Exit(code)


@contextlib.contextmanager
def _imports_frozen() -> Iterator[None]:
    """Take what was imported out of the garbage collector's sight.

    It never becomes garbage, and each full collection of it pauses the event loop
    for 10 to 20 ms.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _leave_threads(code: int) -> None:
    """End the process at once if a function that can't be stopped still runs in a thread.

    Its row is back in the queue. The interpreter would tear down what it uses, with noise.
    """
    frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        idle = frame is not None and frame.f_code.co_name == "_loop"
        if thread.name.startswith("wopr-task-") and not idle:
            log.warning("A function still runs in thread %s; leaving without it.", thread.name)
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)


def _parse(item: str) -> tuple[str, int]:
    name, _, count = item.rpartition(":")
    if not name or not count.isdecimal() or not 1 <= int(count) <= 10_000:
        raise UsageError(
            f"-c {item} is not category:count. For 4 workers write for example: -c {name or item}:4"
        )
    return name, int(count)


def _check(queue: TaskQueue, target: str, database: Path | None) -> None:
    if not queue.enabled:
        raise UsageError(
            f"{target} is switched off, so it would run nothing. Start the worker with "
            f"WOPR_TASKS_ENABLED=1, or build the queue with TaskQueue(enabled=True)."
        )
    if database is not None and queue.database != database:
        raise UsageError(
            f"{target} names its own database, {queue.database}: --database {database} can't "
            f"change it. Leave the option out."
        )


def _start_logging() -> None:
    """Log to standard error, unless the application has its own ideas when it is imported."""
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Safe("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
    logging.getLogger("wopr").setLevel(logging.INFO)


class _Safe(logging.Formatter):
    """Lines for a terminal: what tasks and their errors say carries no control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record), lines=True)


class _Run:
    """One life of the worker process."""

    def __init__(
        self, queue: TaskQueue, target: str, counts: dict[str, int], grace: float | None
    ) -> None:
        self._queue = queue
        self._target = target
        self._counts = counts
        self._grace = queue.settings.shutdown_seconds if grace is None else grace
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._signals = 0
        self._draining: list[Attempt] | None = None

    @property
    def forced(self) -> bool:
        """Whether a second signal came."""
        return self._signals > 1

    async def until_stopped(self) -> dict[str, Any]:
        """Work until a signal comes, then drain; return a summary."""
        restore = self._listen()
        began = self._clock.monotonic()
        try:
            if await self._start():
                self._say_started()
                await self._stop.wait()
        finally:
            self._draining = [
                slot.attempt
                for slots in self._queue.workers.values()
                for slot in slots
                if slot.attempt is not None
            ]
            await self._queue.shutdown(0 if self.forced else self._grace)
            restore()
        interrupted = sum(attempt.interrupted is not None for attempt in self._draining)
        summary = {
            "seconds": self._clock.monotonic() - began,
            "forced": self.forced,
            "running_at_signal": len(self._draining),
            "finished": len(self._draining) - interrupted,
            "put_back": interrupted,
        }
        log.info(
            "Stopped after %(seconds).1f s. Of %(running_at_signal)d running tasks %(finished)d "
            "finished and %(put_back)d were put back in their queue.",
            summary,
        )
        return summary

    async def _start(self) -> bool:
        """Start the workers; wait a little for an owner that is about to go.

        That is the worker before this one at its drain, or a command that looks. Returns
        whether they run: a signal may have come first.

        Raises:
            StorageOwnedError: another process keeps the file.
        """
        deadline = self._clock.monotonic() + OWNED_SECONDS
        waiting_for: int | None = None
        while not self._stop.is_set():
            try:
                for name, count in self._counts.items():
                    await self._queue.start_workers(name, count)
            except StorageOwnedError as error:
                await self._queue.shutdown()
                if self._clock.monotonic() > deadline:
                    raise
                if waiting_for != error.pid:
                    log.info("Process %s has the file; waiting for it to end.", error.pid)
                waiting_for = error.pid
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), OWNED_SECONDS / 10)
            else:
                return True
        return False

    def _say_started(self) -> None:
        shown = ", ".join(f"{name}:{count}" for name, count in self._counts.items())
        log.info(
            "Started %s on %s (pid %d), workers: %s. Stop with SIGTERM or Ctrl-C.",
            self._target,
            self._queue.database,
            os.getpid(),
            shown,
        )
        for name in sorted(set(self._counts) - set(self._queue.categories)):
            log.warning(
                "No task is registered in category %r: its workers have nothing to do.", name
            )

    # -- signals -------------------------------------------------------------

    def _listen(self) -> Callable[[], None]:
        """Take the signals over; return what gives them back."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            try:
                loop.add_signal_handler(number, self._signalled)
            except NotImplementedError:  # Windows: the handler runs between two bytecodes
                signal.signal(number, lambda *_: _call_soon(loop, self._signalled))

        def restore() -> None:
            for number, handler in before.items():
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)

        return restore

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals == 1:
            log.info(
                "Draining: %d tasks run and have %g s; signal again to interrupt them.",
                len(self._queue.running_tasks),
                self._grace,
            )
            self._stop.set()
        else:
            self._force()

    def _force(self) -> None:
        """Interrupt what runs, so that the shutdown ends; the rows go back to PENDING."""
        log.warning("Second signal: interrupting what runs.")
        for attempt in self._draining or ():  # None: the shutdown comes, and gives no grace time
            attempt.stop(interrupted="shutdown")
        if self._signals == 2:
            loop = asyncio.get_running_loop()
            loop.call_later(FORCED_SECONDS, os._exit, NO)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)
