"""One worker process, as the queue's process sees it."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any

from wopr.config.forks import close_in_children, take_away
from wopr.domain.errors import PayloadError, ProcessDiedError
from wopr.executors import child
from wopr.executors.call import Call
from wopr.executors.context import CurrentTask
from wopr.executors.messages import (
    ENVELOPE_BYTES,
    Begun,
    LogEntry,
    Message,
    Order,
    Progress,
    Reply,
    longest_message,
    read,
)
from wopr.executors.packing import arguments_of, pack
from wopr.executors.reference import Reference
from wopr.executors.reporting import levels, tell
from wopr.executors.told import remade

# "forkserver" is a third process whose death would look like that of all workers, and a
# SIGTERM to the program's group kills it. Without modules loaded in advance it is no faster.
CONTEXT = multiprocessing.get_context("spawn")
DYING_SECONDS = 1.0


class WorkerProcess:
    """Runs one call after the other in a process of its own.

    What blocks is for threads: ``start``, ``ask`` and ``end``. ``kill`` may come at any time.
    """

    def __init__(self) -> None:
        self._ours, self._theirs = CONTEXT.Pipe()
        self._ended, self._living = CONTEXT.Pipe(duplex=False)  # ends with this process
        self._busy = threading.Lock()  # held while this process is being talked to
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._killed = False
        self._owner = os.getpid()
        self.pid = 0
        self.begun = False
        """Whether it has begun with the last call."""
        self.tasks = 0
        """How many it has run."""
        self.size = 0
        """Bytes of memory that it occupied after the last one."""

    # -- blocking ----------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it can be given orders.

        Raises:
            ProcessDiedError: it can't be started, or died at once.
        """
        with self._busy:
            process = CONTEXT.Process(
                target=child.main,
                args=(self._theirs, self._ended),
                name="wopr-process",
                daemon=False,
            )
            try:
                with _signals_blocked():
                    process.start()
            except OSError as error:
                raise ProcessDiedError(
                    f"A worker process can't be started: {error}. Is there memory left, and room "
                    "under the limit of processes (ulimit -u)?"
                ) from error
            finally:
                self._theirs.close()
                self._ended.close()
            with self._lock:
                self._process, self.pid = process, process.pid or 0
                killed = self._killed
            _living.add(self)
            close_in_children(self)
            if killed:  # meanwhile
                self.kill()
            try:
                self._hear(ENVELOPE_BYTES)
            except (EOFError, OSError, ValueError):
                raise ProcessDiedError(
                    f"A worker process ended while it was starting ({self._how_it_ended()}); the "
                    "standard error of this program has its traceback. It imports the main "
                    "module of the program: what is to run only there belongs under "
                    "if __name__ == '__main__'."
                ) from None

    def ask(self, call: Call, reference: Reference) -> tuple[bool, Any]:
        """Run a call; return whether the function returned, and what or the error it raised.

        Raises:
            ProcessDiedError: the process did not survive it.
        """
        task = call.context
        with self._busy:
            try:
                packed = pack((call.args, call.kwargs), arguments_of(task.name))
            except PayloadError as error:
                return False, error
            who = (task.id, task.name, task.category, task.attempt)
            limits = call.codec.limits
            order = Order(
                reference, who, packed, call.soft_timeout, call.is_async, limits, levels()
            )
            self.begun = False
            try:
                self._ours.send(order)
                reply = self._reply(task, longest_message(limits.result))
            except (EOFError, OSError, ValueError):
                raise ProcessDiedError(
                    f"Worker process {self.pid} died while it ran attempt {task.attempt} of task "
                    f"'{task.name}': {self._how_it_ended()}. No other task is affected; this one "
                    "is retried if it has retries left."
                ) from None
            self.tasks += 1
            self.size = reply.size
        if reply.error is not None:
            return False, remade(reply.error, task.name)
        try:
            return True, call.codec.decode_result(reply.result)
        except PayloadError as error:
            return False, error

    def _hear(self, most: int) -> Message:
        """Return the next message; what is longer than ``most`` bytes is none (an OSError)."""
        return read(self._ours.recv_bytes(most))

    def _reply(self, task: CurrentTask, most: int) -> Reply:
        while True:
            message = self._hear(most)
            if isinstance(message, Reply):
                return message
            if isinstance(message, Begun):
                self.begun = True
            elif isinstance(message, Progress):
                task.progress(message.percent, message.message, data=message.data)
            elif isinstance(message, LogEntry):
                tell(message, task)

    def end(self, grace: float) -> None:
        """Let it end by itself, kill it after ``grace`` seconds, give free what belongs to it."""
        with self._busy:
            self._ours.close()
            with self._lock:
                process = self._process
            if process is None:  # it could not be started
                self._living.close()
                return
            process.join(grace)
            self.kill()
            process.join()
            self._living.close()
            with self._lock:
                self._process = None  # it closes what it has open once nobody refers to it
            _living.discard(self)

    def _how_it_ended(self) -> str:
        assert self._process is not None, "it was started"
        self._process.join(DYING_SECONDS)
        self.kill()  # also what it started; and itself, if it only closed its connection
        self._process.join()
        return ended_by(self._process.exitcode)

    # -- at any time -------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.is_alive()

    def forget(self) -> None:
        """Leave it to the process that this one was forked from, whose end it must see."""
        for pipe in (self._ours, self._living):
            if not pipe.closed:
                take_away([pipe.fileno()])

    def kill(self) -> None:
        """Kill it now, with all processes that its tasks have started."""
        with self._lock:
            self._killed = True
            if self._process is None or self._owner != os.getpid():
                return
            with suppress(OSError):  # it has no group of its own yet, or not any more
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()


def ended_by(code: int | None) -> str:
    """Say in words how a process ended."""
    if code is None:
        return "it is not known how"
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hints = {
        "SIGKILL": "; somebody killed it, or the system did because memory ran out: see dmesg",
        "SIGSEGV": "; native code crashed: PYTHONFAULTHANDLER=1 shows where",
        "SIGABRT": "; native code gave up: PYTHONFAULTHANDLER=1 shows where",
    }
    return f"{name} ended it{hints.get(name, '')}"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start a process that these signals can't end before it has handlers for them.

    It inherits what this thread blocks. The resource tracker comes first, because starting
    it unblocks them.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, child.HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_living: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


@atexit.register  # before multiprocessing's own, which waits for processes to end
def _kill_all() -> None:
    for worker in list(_living):
        worker.kill()
