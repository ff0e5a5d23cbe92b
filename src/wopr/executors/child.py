"""What a worker process does: it runs one order after the other, until nobody gives any."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from wopr.executors.alarm import call_with_alarm
from wopr.executors.call import no_coroutine, soft_timeout_text
from wopr.executors.context import CurrentTask, set_current_task
from wopr.executors.coroutines import SoftLimit
from wopr.executors.elsewhere import called, codec_of
from wopr.executors.messages import Begun, Order, Ready, Reply
from wopr.executors.packing import arguments_of, unpack
from wopr.executors.reference import function_of
from wopr.executors.reporting import Channel, Forwarding
from wopr.executors.told import tell

HELD_BACK = (signal.SIGINT, signal.SIGTERM)
"""Signals for all processes of the program: what runs has the grace time, and then is killed."""


def main(connection: Connection, parent: Connection) -> None:
    """Run what is ordered until the other end closes; ``parent`` ends with that process."""
    # A program that a task leaves behind would keep it open: this one's death would not show.
    os.set_inheritable(connection.fileno(), False)
    os.set_inheritable(parent.fileno(), False)
    channel = Channel(connection)
    forwarding = Forwarding(channel)
    _stand_alone()
    os.register_at_fork(
        before=functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, HELD_BACK),
        after_in_parent=functools.partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, HELD_BACK),
        after_in_child=functools.partial(_leave, channel, forwarding),
    )
    threading.Thread(target=_end_with, args=(parent,), name="wopr-parent", daemon=True).start()
    logging.root.handlers[:] = [forwarding]
    try:
        channel.send(Ready())
        while True:
            order: Order = connection.recv()
            channel.send(Begun())
            forwarding.set_levels(order.levels)
            channel.send(_carry_out(order, channel))
    except (EOFError, OSError):
        return


def _carry_out(order: Order, channel: Channel) -> Reply:
    task = CurrentTask(*order.who, channel.progress)
    context = contextvars.Context()
    context.run(set_current_task, task)
    channel.current = task
    try:
        value = context.run(_run, order, channel)
        codec = codec_of(order.reference, task.name, order.limits)
        result = codec.encode_result(value)
    except BaseException as error:  # noqa: BLE001 - also SystemExit ends only the task
        return Reply(None, tell(error), _size())
    finally:
        channel.current = None
    return Reply(result, None, _size())


def _run(order: Order, channel: Channel) -> Any:
    name, attempt = order.who[1], order.who[3]
    function = function_of(order.reference)
    args, kwargs = unpack(order.call, arguments_of(name))
    if order.soft_timeout is None:
        return no_coroutine(called(function, args, kwargs, order.is_async), name)
    text = soft_timeout_text(name, attempt, order.soft_timeout)
    if order.is_async:
        return asyncio.run(_limited(SoftLimit(function(*args, **kwargs), order.soft_timeout, text)))
    call = functools.partial(function, *args, **kwargs)
    value = call_with_alarm(call, order.soft_timeout, text, lambda: channel.busy)
    return no_coroutine(value, name)


async def _limited(limit: SoftLimit) -> Any:
    return await limit


def _size() -> int:
    """Return how many bytes of memory this process occupies; at worst, how many it ever did."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


# -- a process of its own ---------------------------------------------------------


def _stand_alone() -> None:
    """Be a group of its own, with all that tasks start, and outlive signals to the program.

    The signals are blocked since the process was started. They get handlers and are not
    ignored: programs that tasks start would ignore them as well.
    """
    with contextlib.suppress(OSError):
        os.setpgrp()
    for number in HELD_BACK:
        signal.signal(number, _hold_back)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def _hold_back(number: int, frame: FrameType | None) -> None:
    pass


def _leave(channel: Channel, forwarding: Forwarding) -> None:
    """Be an ordinary process, when a task forked this one."""
    channel.close()
    logging.root.removeHandler(forwarding)
    for number in HELD_BACK:
        with contextlib.suppress(ValueError):  # not the main thread of the interpreter
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def _end_with(parent: Connection) -> None:
    """Kill this process and what it started once the queue's process is gone.

    The sentinel of :mod:`multiprocessing` does not tell while a child lives that a task forked.
    """
    wait([parent])
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
