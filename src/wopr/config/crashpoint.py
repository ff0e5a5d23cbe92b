"""Named points of the write path at which a test can kill the process.

``WOPR_CRASH_POINT=name`` or ``name:n`` makes the n-th pass through that point
die by SIGKILL, exactly as a power cut or the kernel's memory killer would.
Unset, a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "journal.before_write",
    "journal.after_write",
    "journal.before_deliver",
    "fold.before",
    "fold.after",
    "checkpoint.before",
    "checkpoint.after",
    "attempt.before_run",
    "attempt.after_run",
    "recovery.before_write",
    "recovery.after_write",
    "schedule.after_enqueue",
    "schedule.after_save",
    "outbox.after_enqueue",
    "outbox.after_delete",
)
"""Those that any work passes."""
KEEPING = ("export.written", "archive.noted", "archive.written", "archive.placed")
"""Those of an export, and of one portion of an archive."""
MOVING = (
    *("move.copied", "move.page", "move.filled", "move.round", "move.taken", "move.ready"),
    "move.marked",
)
"""Those of a queue that moves to another home; only behind the last it has moved."""


def _selected() -> dict[str, int]:
    name, _, count = os.environ.get("WOPR_CRASH_POINT", "").partition(":")
    return {name: int(count or 1)} if name else {}


_remaining = _selected()


def crashpoint(name: str) -> None:
    """Die here if the environment asks for it."""
    if name in _remaining:
        _remaining[name] -= 1
        if _remaining[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
