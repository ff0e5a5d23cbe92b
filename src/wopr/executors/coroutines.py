"""Coroutine functions on the event loop, and how one is told that its soft timeout is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast

from wopr.domain.errors import SoftTimeoutError
from wopr.executors.call import Call, soft_timeout_text


class Coroutines:
    """Runs coroutine functions on the event loop."""

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises."""
        if call.soft_timeout is None:
            return await call.function(*call.args, **call.kwargs)
        text = soft_timeout_text(call.context.name, call.context.attempt, call.soft_timeout)
        return await SoftLimit(call.function(*call.args, **call.kwargs), call.soft_timeout, text)

    async def close(self) -> None:
        """Do nothing: there is nothing to give free."""


class _ThrownError(SoftTimeoutError, asyncio.CancelledError):
    """The ``SoftTimeoutError`` that a coroutine sees.

    ``TaskGroup``, ``gather`` and ``wait_for`` look after their children only if what is
    thrown at them is a cancellation. Outside of the coroutine it is not one.
    """

    def __reduce__(self) -> tuple[type[SoftTimeoutError], tuple[Any, ...]]:
        return SoftTimeoutError, self.args


_ThrownError.__name__ = _ThrownError.__qualname__ = SoftTimeoutError.__name__
_ThrownError.__module__ = SoftTimeoutError.__module__


class SoftLimit:
    """Awaits a coroutine, and after some time raises ``SoftTimeoutError`` where it waits.

    The timer cancels the asyncio task, so that what the coroutine waits for is cancelled as
    well. The ``CancelledError`` arrives here, is taken back, and the coroutine is thrown a
    ``SoftTimeoutError`` instead. A cancellation by anybody else at the same time goes first.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], seconds: float, text: str) -> None:
        self._coroutine = coroutine
        self._seconds = seconds
        self._text = text
        self._due = False  # the time is over, and the coroutine does not know yet
        self._asked = False  # our cancellation is on its way
        self._told = False
        self._timer: asyncio.Handle | None = None
        self._task: asyncio.Task[Any]
        self._cancelling = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._timer = self._task.get_loop().call_later(self._seconds, self._ask)
        try:
            return (yield from self._drive())
        except asyncio.CancelledError as error:
            if not self._told or self._task.cancelling() > self._cancelling:
                raise
            left = _plain(error, self._text)
        finally:
            self._timer.cancel()
        raise left

    def _ask(self) -> None:
        """Cancel the task, which waits somewhere inside of the coroutine now."""
        self._due = True
        if self._task.cancelling() == self._cancelling:
            self._asked = True
            self._task.cancel()

    def _drive(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        resume: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            try:
                awaited = resume(value)
            except StopIteration as end:
                return end.value
            finally:
                value = None  # an error would hold this frame, which would hold it
            if self._due:  # somebody else was first, or what was awaited would not be cancelled
                self._timer = self._task.get_loop().call_soon(self._ask)
            try:
                value = yield awaited
                resume = steps.send
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 - everything goes on to the coroutine
                resume, value = steps.throw, error
            if self._asked:
                self._asked = False
                alone = self._task.uncancel() <= self._cancelling
                if alone and isinstance(value, asyncio.CancelledError):
                    self._due, self._told = False, True
                    value = _ThrownError(self._text)


def _plain(thrown: asyncio.CancelledError, text: str) -> SoftTimeoutError:
    """Return the same error without being a cancellation.

    It may also be a plain ``CancelledError`` that a library raised in the place of ours.
    """
    args = thrown.args if isinstance(thrown, _ThrownError) else (text,)
    error = SoftTimeoutError(*args).with_traceback(thrown.__traceback__)
    error.__cause__, error.__context__ = thrown.__cause__, thrown.__context__
    error.__suppress_context__ = thrown.__suppress_context__
    return error
