"""Processes that tests start, and whether they are gone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from wopr.executors.choice import Executors


@contextlib.asynccontextmanager
async def executors_of(**options: Any) -> AsyncIterator[Executors]:
    """Give executors; at the end they are closed, and no process of theirs is left."""
    executors = Executors(**options)
    try:
        yield executors
    finally:
        await executors.close()
        left = multiprocessing.active_children()
        assert left == [], f"processes are left: {left}"


def is_gone(pid: int) -> bool:
    """Tell whether no process has this id, or only a dead one that nobody collected."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except (ProcessLookupError, FileNotFoundError):
        return True
    return state.split()[0] in "ZX"


def gone(pids: Iterable[int]) -> list[int]:
    """Return those that are gone."""
    return [pid for pid in pids if is_gone(pid)]
