"""What an executor is given, and what it promises."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from wopr.domain.codec import CallCodec
from wopr.domain.errors import PayloadError
from wopr.domain.guarded import type_name
from wopr.domain.task import TaskRecord
from wopr.executors.context import CurrentTask


@dataclass(slots=True)
class Call:
    """One run of a task's function."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: CurrentTask
    soft_timeout: float | None
    """Seconds until SoftTimeoutError is raised inside of the function; ``None``: never."""
    is_async: bool
    codec: CallCodec
    """Of the function: how its result crosses the border of a process."""
    record: TaskRecord | None = None
    """The task as it is stored: what was stored with it goes along to other machines."""
    timeout: float | None = None
    """Seconds after which the attempt is stopped; ``None``: never."""


class RaisedError(RuntimeError):
    """Carries what a coroutine can't raise: a ``StopIteration`` that a plain function raised."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the function raised {type_name(error)}")
        self.error = error
        self.__cause__ = error


def raisable(error: BaseException) -> BaseException:
    """Return what a coroutine raises to tell that a function raised this."""
    return RaisedError(error) if issubclass(type(error), StopIteration) else error


class Executor(Protocol):
    """Runs functions somewhere."""

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises.

        To cancel this coroutine stops the function for real where that is possible, and lets
        go of it where it is not.
        """
        ...

    async def close(self) -> None:
        """Give free what belongs to this executor."""
        ...


def soft_timeout_text(name: str, attempt: int, seconds: float) -> str:
    """Return what a ``SoftTimeoutError`` says."""
    return (
        f"attempt {attempt} of task '{name}' ran longer than its soft timeout of {seconds:g} s. "
        "Catch SoftTimeoutError in the task to clean up and return what there is, or give it "
        "more time with soft_timeout=."
    )


def no_coroutine(value: Any, name: str) -> Any:
    """Return what a plain function returned.

    Raises:
        PayloadError: it is a coroutine, which nobody would await.
    """
    if inspect.iscoroutine(value):
        value.close()
        raise PayloadError(
            f"Task '{name}' returned a coroutine. Declare the function with 'async def', so that "
            "wopr awaits it."
        )
    return value
