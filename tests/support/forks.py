"""A forked child that does one thing and tells what came of it."""

from __future__ import annotations

import os
import select
import signal
import warnings
from collections.abc import Callable

from support.queues import PATIENCE


def in_child(function: Callable[[], object]) -> str:
    """Call a function in a forked child; return its answer as text, or the error's name and text.

    A child that hangs is killed and has said nothing.
    """
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
        child = os.fork()
    if child == 0:
        try:
            said = str(function())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(sending, said.encode())
        os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], PATIENCE)
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return pipe.read().decode()
