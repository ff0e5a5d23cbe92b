"""The signals that end a worker: taken over while it runs, but not in children of its tasks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable

ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Calls a function on the event loop for each of them, until they are given back."""

    def __init__(self, signalled: Callable[[], None]) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._before = {number: signal.getsignal(number) for number in ENDING}
        for number in ENDING:
            try:
                loop.add_signal_handler(number, signalled)
            except NotImplementedError:  # Windows: the handler runs between two bytecodes
                signal.signal(number, lambda *_: _call_soon(loop, signalled))
        _Forks.taken = True

    def give_back(self) -> None:
        """Let them do what they did before."""
        _Forks.taken = False
        for number, handler in self._before.items():
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            signal.signal(number, handler)


class _Forks(threading.local):
    """Lets the signals end a child that is forked while they are taken over.

    It would survive them, and tell the worker, whose socket it has, that the worker was told
    to end. They are held back in the thread that forks until the child is rid of that.
    """

    taken = False
    mask: set[signal.Signals | int] | None = None

    def begin(self) -> None:
        if _Forks.taken:
            self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)

    def end(self) -> None:
        mask, self.mask = self.mask, None
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def begin_in_child(self) -> None:
        if self.mask is not None:
            _Forks.taken = False
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.end()


_forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.begin, after_in_parent=_forks.end, after_in_child=_forks.begin_in_child
    )


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)
