"""Who this process is, as it stands in the rows of its acts."""

from __future__ import annotations

import functools
import getpass
import os
import socket
import sys

from wopr.domain.act import By


def this_process() -> By:
    """Return the user of this process, and its program, pid and machine."""
    return _this_process(os.getpid())


@functools.cache
def _this_process(pid: int) -> By:
    try:
        who = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        who = f"user id {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    origin = f"{program}, pid {pid} on {socket.gethostname()}"
    return By(_plain(who), _plain(origin))


def _plain(text: str) -> str:
    """Return a text that can be stored, whatever the system said."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")[:200] or "unknown"
