"""An option that is declared is also read: none is accepted and dropped."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from support.paths import SOURCE
from support.sources import parsed
from wopr.calls import options

READ_IN = {
    "Options": ("calls/followups.py", "calls/tasks.py"),
    "TaskOptions": ("calls/limits.py", "queue/registration.py"),
    "HandlerOptions": ("calls/options.py", "handlers/marks.py"),
    "ScheduleOptions": ("calls/schedules.py", "calls/tasks.py", "domain/scheduleoptions.py"),
}


def texts_in(files: tuple[str, ...]) -> set[str]:
    """Return the text constants of these files: a key is read by its name."""
    return {
        node.value
        for file in files
        for node in ast.walk(parsed(SOURCE / file).tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("kind", sorted(READ_IN))
def test_each_option_is_read_where_it_is_checked_and_stored(kind: str) -> None:
    declared: Any = getattr(options, kind)
    read = texts_in(READ_IN[kind])
    # The category of ``queue.task`` goes on to ``register_task`` as a parameter of its own.
    taken = {"category"} if kind == "TaskOptions" else set()
    dropped = sorted(declared.__annotations__.keys() - read - taken)
    assert dropped == [], f"{kind} has {dropped}, which nobody in {READ_IN[kind]} reads"
