"""The end of the worker's process: what others left behind is not waited for for long."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from sys import _current_frames
from types import FrameType

from wopr.executors import threads

log = logging.getLogger("wopr.worker")

_LOOPS = {(threads.__name__, "_loop"), ("concurrent.futures.thread", "_worker")}
"""What threads are in that may run a function now and then."""
_LEFT = "%s has not ended; leaving without it."
JUST_RETURNING_SECONDS = 0.05
"""A thread that runs no function so much later was just returning from one."""


def busy_threads() -> list[str]:
    """Return the names of the threads whose end would be waited for, or that run a function.

    Those are wopr's own, and those of each ``ThreadPoolExecutor``: ``asyncio.to_thread`` has one.
    """
    busy = _in_functions()
    if busy:
        threading.Event().wait(JUST_RETURNING_SECONDS)
        busy &= _in_functions()
    return sorted(thread.name for thread in busy)


def _in_functions() -> set[threading.Thread]:
    frames = _current_frames()  # documented, in spite of its name
    found = set()
    for thread in threading.enumerate():
        top = frame = frames.get(thread.ident or 0)
        while frame and (frame.f_globals.get("__name__"), frame.f_code.co_name) not in _LOOPS:
            frame = frame.f_back
        if frame and frame is not top:
            found.add(thread)
    return found


def leave_now(code: int) -> None:
    """End the process without what the interpreter would wait for."""
    for child in multiprocessing.active_children():
        if child.daemon:  # the interpreter would have ended it
            child.terminate()
        else:
            log.warning(_LEFT, f"Process {child.name} (pid {child.pid})")
    logging.shutdown()
    os._exit(code)


def leave_within(seconds: float, code: int) -> None:
    """See to it that the process ends by then, whatever the interpreter waits for at its exit.

    That are processes and threads which tasks or the application have started, and what is
    registered with :mod:`atexit`.
    """
    sys.stdout.flush()
    threading.Thread(
        target=_leave_after, args=(seconds, code), name="wopr-exit", daemon=True
    ).start()


def _leave_after(seconds: float, code: int) -> None:
    threading.Event().wait(seconds)
    main = threading.main_thread()
    others = [one for one in threading.enumerate() if not one.daemon and one is not main]
    for thread in others:
        log.warning(_LEFT, f"Thread {thread.name}")
    if not others and not multiprocessing.active_children():
        frame = _current_frames().get(main.ident or 0)
        log.warning(_LEFT, f"What runs at the exit of the program ({_place(frame)})")
    leave_now(code)


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return "it can't be told where"
    return f"{frame.f_code.co_qualname}, {frame.f_code.co_filename}:{frame.f_lineno}"
