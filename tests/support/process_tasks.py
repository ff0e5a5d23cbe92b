"""Functions that tests run in other processes. Those import this module."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wopr import SoftTimeoutError, TaskQueue, current_task

queue = TaskQueue(enabled=True)
never = threading.Event()


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return "traced", function(*args)

    return wrapper


class LoudError(Exception):
    """Survives the journey between processes, with what it holds."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class AwkwardError(Exception):
    """Can be pickled, but not unpickled: two parameters, and one argument kept."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def double(number: int) -> int:
    return 2 * number


@queue.task(name="doubled")
def doubled(number: int) -> int:
    return 2 * number


@traced
@queue.task(name="layers")
@traced
def layers(number: int) -> int:
    return number


async def async_double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Shelf:
    @staticmethod
    def put(number: int) -> int:
        return number + 1

    def take(self) -> int:
        return 1


def pid() -> int:
    return os.getpid()


def who() -> tuple[str, str, str, int]:
    task = current_task()
    return task.id, task.name, task.category, task.attempt


def fail(number: int) -> None:
    raise LoudError(number)


def fail_awkwardly() -> None:
    raise AwkwardError("this", "that")


def fail_with_a_lock() -> None:
    raise ValueError("holds a lock", threading.Lock())


class KeywordError(Exception):
    """As those of HTTP clients: pickle rebuilds it without its keyword."""

    def __init__(self, text: str, *, response: object) -> None:
        super().__init__(text)
        self.response = response


def fail_with_a_keyword() -> None:
    raise KeywordError("404 for /a", response=never)


class SilentError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


def fail_with_no_text() -> None:
    raise SilentError(SilentError())


def stop_iterating() -> None:
    next(iter(()))


def fail_in_many_ways() -> None:
    errors = []
    try:
        raise ValueError("bad") from OSError(2, "no such file", "/a")
    except ValueError as error:
        errors.append(error)
    loud = LoudError(7)
    loud.add_note("a note")
    raise ExceptionGroup("many", [*errors, loud])


def fail_with_much(members: int, size: int) -> None:
    raise ExceptionGroup("many", [LookupError(str(at), "\u0436" * size) for at in range(members)])


def fail_with_a_secret(before: int, after: int) -> None:
    """Have the value of a secret stand where a long text is cut."""
    secret = "password=" + "s3cr3t" * 1_000
    raise ValueError(f"{'.' * before} {secret}\n{'.' * after}")


def fail_with_a_local_error() -> None:
    class LocalError(LookupError):
        pass

    raise LocalError("only here")


class Making:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def send_a_pickle(path: str) -> None:
    """Write into each pipe of this process what would do harm where it is unpickled."""
    data = pickle.dumps(Making(path))
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                Connection(os.dup(int(name))).send_bytes(data)


def leave() -> None:
    sys.exit(3)


def unpicklable() -> Any:
    return threading.Lock()


def a_coroutine() -> Any:
    return async_double(1)


def take(value: object) -> str:
    return type(value).__name__


class Unreadable:
    """Can be sent, and not be made again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def give_unreadable() -> Any:
    return Unreadable()


def segfault() -> None:
    ctypes.string_at(0)


def exit_at_once(code: int) -> None:
    os._exit(code)


def begin_and_wait() -> None:
    """Say that it runs, with its pid, and never end."""
    current_task().progress(1, str(os.getpid()))
    never.wait()


def begin_and_read(pipe: str) -> None:
    """Say that it runs, and end once somebody has written to a named pipe."""
    current_task().progress(1, str(os.getpid()))
    Path(pipe).read_bytes()


def ask_for_another(database: str, number: int) -> int:
    """Wait for a task, through the owner's socket; that runs in the same category."""
    asking = TaskQueue(enabled=True, database=database)
    asking.task(name="double", executor="process")(double)
    with asking.sync() as sync:
        handle = sync(asking.enqueue, "double", (number,))
        return int(sync(handle.result))


async def begin_and_wait_async() -> None:
    current_task().progress(1, str(os.getpid()))
    await asyncio.Event().wait()


def begin_a_program_and_wait() -> None:
    """Say the pid of a program that this starts, and never end."""
    with subprocess.Popen(["sleep", "1000"]) as program:
        current_task().progress(1, str(program.pid))
        never.wait()


def fork_and_crash() -> None:
    """Crash while a forked child lives that has all open files."""
    waiting = multiprocessing.get_context("fork").Process(target=never.wait)
    waiting.start()
    current_task().progress(1, str(waiting.pid))
    os.kill(os.getpid(), signal.SIGSEGV)


def leave_a_program_and_crash() -> None:
    """Crash while a program lives that has all open files it may have, in a session of its own."""
    program = subprocess.Popen(["sleep", "1000"], close_fds=False, start_new_session=True)
    current_task().progress(1, str(program.pid))
    os.kill(os.getpid(), signal.SIGSEGV)


def fork_and_terminate() -> int | None:
    """Stop a forked child as its parent usually does."""
    waiting = multiprocessing.get_context("fork").Process(target=never.wait)
    waiting.start()
    waiting.terminate()
    waiting.join()
    return waiting.exitcode


def outlive_signals() -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    return "alive"


def terminate_a_program() -> int:
    """Stop a program as its parent usually does."""
    with subprocess.Popen(["sleep", "1000"]) as program:
        program.terminate()
        return program.wait()


def grow(size: int) -> int:
    """Keep memory beyond the end of the call."""
    kept.append(os.urandom(1024) * (size // 1024))
    return os.getpid()


kept: list[bytes] = []


def open_files() -> list[str]:
    """Return what the descriptors of this process stand for."""
    found = []
    for name in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(name.readlink()))
    return found


def report() -> None:
    task = current_task()
    task.progress(25, "a quarter")
    task.progress(100, "all")


later: list[Any] = []


def report_for_the_one_before() -> None:
    for task in later:
        task.progress(50, "of a task that has ended")
    later.append(current_task())


def log_lines() -> None:
    logging.getLogger("app.work").info("made %d of %d", 1, 2, extra={"order": 7})
    current_task().logger.warning("careful")
    logging.getLogger("app.work").debug("not wanted")
    try:
        raise LoudError(5)
    except LoudError:
        logging.getLogger("app.work").exception("went wrong")


def log_a_long_secret() -> None:
    """Log a text whose cut takes the word away that says what the rest of it is."""
    logging.getLogger("app.work").info("password=%s end", "hunter" * 20_000)


def log_a_lot(lines: int, length: int) -> None:
    for number in range(lines):
        logging.getLogger("app.flood").info("%d %s", number, "x" * length)


def flood_for_ever() -> None:
    while True:
        logging.getLogger("app.flood").info("x" * 1_000)
        current_task().progress(1)


def spin(seconds: float) -> int:
    """Use a CPU for as much processor time."""
    end = os.times().user + os.times().system + seconds
    rounds = 0
    while os.times().user + os.times().system < end:
        rounds += 1
    return rounds


def wait_softly() -> str:
    try:
        never.wait()
    except SoftTimeoutError as error:
        return str(error)
    return "never told"


def wait_hard() -> None:
    never.wait()


async def wait_softly_async() -> str:
    try:
        await asyncio.Event().wait()
    except TimeoutError as error:
        return type(error).__name__
    return "never told"


def log_for_ever() -> None:
    """Be told of the soft timeout while something is being logged, most likely."""
    while True:
        logging.getLogger("app.flood").warning("x" * 60_000)
