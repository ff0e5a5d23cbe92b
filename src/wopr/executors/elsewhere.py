"""Calling a task's function in another process than the queue's."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
from collections.abc import Callable
from typing import Any

from wopr.executors.call import no_coroutine
from wopr.executors.context import CurrentTask, set_current_task
from wopr.executors.reference import Reference, function_of

Who = tuple[str, str, str, int]
"""Task id, name, category and attempt."""


def called(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_async: bool,  # noqa: FBT001 - executors pass positional arguments on
) -> Any:
    """Call a function where no event loop runs; a coroutine function gets one of its own."""
    if is_async:
        return asyncio.run(function(*args, **kwargs))
    return function(*args, **kwargs)


def call_by_reference(
    reference: Reference,
    who: Who,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_async: bool,  # noqa: FBT001 - executors pass positional arguments on
    begun: str,
) -> Any:
    """Call a task's function in an executor's own process; there nobody hears of progress.

    That it has begun is told by an empty file at ``begun``, if that is on this machine.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(begun, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    context = contextvars.Context()
    context.run(set_current_task, CurrentTask(*who, lambda task, percent, message: None))
    value = context.run(called, function_of(reference), args, kwargs, is_async)
    return no_coroutine(value, who[1])
