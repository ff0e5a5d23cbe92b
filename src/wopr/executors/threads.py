"""Threads for sync functions. A thread that never returns must not hold anything up.

Not ``ThreadPoolExecutor``: that one waits at interpreter exit for threads which
were abandoned after a timeout, and has an upper bound that they would use up.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from wopr.domain.errors import RunnerRefusedError, SoftTimeoutError
from wopr.executors.abandoned import Abandoned, AbandonedList
from wopr.executors.call import Call, no_coroutine, raisable, soft_timeout_text

_here = threading.local()
"""Of each thread, whether functions run in it instead of in threads of their own."""


@contextlib.contextmanager
def inline() -> Iterator[None]:
    """Have this thread's functions run at once and in it, for a ``with`` block: on virtual time.

    Those of process pools and of other executors, too.
    """
    before = is_inline()
    _here.inline = True
    try:
        yield
    finally:
        _here.inline = before


def is_inline() -> bool:
    """Whether functions run at once and in this thread."""
    return getattr(_here, "inline", False)


IDLE_SECONDS = 10.0
AGAIN_SECONDS = 0.01
"""A function that has not begun when its soft timeout is over is told so much later."""


class Job:
    """One function in one thread, which may be interrupted while it runs, and only then."""

    __slots__ = (
        "_abandoned",
        "_ended",
        "_function",
        "_ident",
        "_list",
        "_lock",
        "_sent",
        "_unwanted",
        "future",
        "thread",
        "timer",
    )

    def __init__(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.future = future
        self.thread = "a thread"
        self.timer: asyncio.TimerHandle | None = None
        self._function = function
        self._lock = threading.Lock()
        self._ident: int | None = None
        self._ended = False
        self._sent = False
        self._unwanted = False
        self._abandoned: Abandoned | None = None
        self._list: AbandonedList | None = None

    def run(self) -> tuple[bool, Any]:
        """Call the function in this thread; return whether it returned, and what or the error."""
        try:
            if not self._begin():
                return False, None
            outcome = True, self._function()
        except BaseException as error:  # noqa: BLE001 - also SystemExit ends only the task
            outcome = False, error
        while True:
            try:
                self._end()
                return outcome
            except SoftTimeoutError:  # it was on its way when the function ended
                continue

    def _begin(self) -> bool:
        with self._lock:
            if self._unwanted:
                return False
            self.thread = threading.current_thread().name
            self._ident = threading.get_ident()
        return True

    def _end(self) -> None:
        """Let nothing interrupt this thread from here on, nor what it runs next."""
        with self._lock:
            self._ended = True
        if self._sent:
            _raise_in(threading.get_ident(), None)
        if self._abandoned is not None and self._list is not None:
            self._list.ended(self._abandoned)

    def interrupt_after(self, seconds: float) -> None:
        """Call :meth:`interrupt` then."""
        self.timer = self.future.get_loop().call_later(seconds, self.interrupt)

    def interrupt(self) -> None:
        """Raise ``SoftTimeoutError`` in the function, the next time it runs Python code."""
        with self._lock:
            if self._ident is None:
                self.interrupt_after(AGAIN_SECONDS)
            elif not self._ended:
                self._sent = True
                _raise_in(self._ident, SoftTimeoutError)

    def abandon(self, call: Call | None, abandoned: AbandonedList) -> None:
        """Drop what comes of it; do not begin if it has not begun."""
        with self._lock:
            self._unwanted = True
            if call is not None and self._ident is not None and not self._ended:
                self._list = abandoned
                self._abandoned = abandoned.add(call.context, f"thread {self.thread}")


class Threads:
    """Run functions in daemon threads that are kept for reuse."""

    def __init__(self, abandoned: AbandonedList | None = None) -> None:
        self.abandoned = abandoned or AbandonedList()
        self._work: SimpleQueue[Job] = SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    async def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what the function returns, or raise what it raises.

        If the awaiting coroutine is cancelled the function goes on in its thread,
        and what it returns is dropped.
        """
        return await self._outcome(self._job(function, args, kwargs), None)

    async def run_call(self, call: Call) -> Any:
        """Run a task's function, interrupt it at its soft timeout, note it if it is abandoned."""
        job = self._job(call.function, call.args, call.kwargs)
        if call.soft_timeout is None:
            return no_coroutine(await self._outcome(job, call), call.context.name)
        job.interrupt_after(call.soft_timeout)
        try:
            return no_coroutine(await self._outcome(job, call), call.context.name)
        except SoftTimeoutError as error:
            if not error.args:  # it was made by the interpreter, which gives no text
                task = call.context
                error.args = (soft_timeout_text(task.name, task.attempt, call.soft_timeout),)
            raise
        finally:
            if job.timer is not None:
                job.timer.cancel()

    def _job(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Job:
        context = contextvars.copy_context()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job = Job(lambda: context.run(function, *args, **kwargs), future)
        if is_inline():
            _resolve(future, job.run())
            return job
        with self._lock:
            start = self._idle == 0
            if not start:
                self._idle -= 1
        if start:
            name = f"wopr-task-{next(self._numbers)}"
            try:
                threading.Thread(target=self._loop, name=name, daemon=True).start()
            except RuntimeError as error:
                raise RunnerRefusedError(
                    f"A thread can't be started: {error}. Is there memory left, and room under "
                    "the limit of processes (ulimit -u)?",
                    "thread",
                ) from error
        self._work.put(job)
        return job

    async def _outcome(self, job: Job, call: Call | None) -> Any:
        try:
            ok, value = await job.future
        except asyncio.CancelledError:
            job.abandon(call, self.abandoned)
            raise
        if ok:
            return value
        raise raisable(value)

    def _loop(self) -> None:
        while True:
            try:
                job = self._work.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle == 0:  # somebody has just counted on this thread
                        continue
                    self._idle -= 1
                return
            outcome = job.run()
            with self._lock:
                self._idle += 1
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.future.get_loop().call_soon_threadsafe(_resolve, job.future, outcome)
            del job, outcome


class ThreadExecutor:
    """Runs plain functions in threads."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises."""
        return await self._threads.run_call(call)

    async def close(self) -> None:
        """Do nothing: threads end by themselves, and those that do not can't be stopped."""


def _resolve(future: asyncio.Future[Any], outcome: tuple[bool, Any]) -> None:
    if not future.done():
        future.set_result(outcome)


def _raise_in(ident: int, error: type[BaseException] | None) -> None:
    """Have the interpreter raise an error in a thread; ``None`` takes back one that waits."""
    import ctypes

    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), what)
