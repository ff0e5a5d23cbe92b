"""Calling a task's function in another process than the queue's."""

from __future__ import annotations

import asyncio
import contextvars
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
) -> Any:
    """Call a task's function in an executor's own process; there nobody hears of progress."""
    context = contextvars.Context()
    context.run(set_current_task, CurrentTask(*who, lambda task, percent, message: None))
    value = context.run(called, function_of(reference), args, kwargs, is_async)
    return no_coroutine(value, who[1])
