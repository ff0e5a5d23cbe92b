"""Calling a task's function in another process than the queue's."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import os
from collections.abc import Callable
from typing import Any

from wopr.domain.codec import CallCodec, PayloadLimits
from wopr.executors.call import no_coroutine
from wopr.executors.context import CurrentTask, set_current_task
from wopr.executors.reference import Reference, function_of
from wopr.executors.told import tell

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
    limits: PayloadLimits,
) -> str:
    """Call a task's function in an executor's own process; there nobody hears of progress.

    That it has begun is told by an empty file at ``begun``, if that is on this machine. Returns
    JSON of two: the result, as JSON text, and what was told of the error instead. So no executor
    has to pickle either.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(begun, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    context = contextvars.Context()
    context.run(set_current_task, CurrentTask(*who, lambda *reported: None))
    try:
        value = context.run(called, function_of(reference), args, kwargs, is_async)
        result = codec_of(reference, who[1], limits).encode_result(no_coroutine(value, who[1]))
    except BaseException as error:  # noqa: BLE001 - also SystemExit ends only the task
        return json.dumps([None, tell(error)])
    return json.dumps([result, None])


@functools.lru_cache(256)
def codec_of(reference: Reference, name: str, limits: PayloadLimits) -> CallCodec:
    """Return what encodes the result of a function, in the process that it travelled to."""
    return CallCodec(function_of(reference), name, limits)
