"""A task's ``enqueue`` with the parameters of its function, as a running program sees it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class LikeFunction:
    """Gives each task a method of its own, made when it is first asked for.

    Type checkers read ``P.args``; ``help()`` and notebooks showed just that.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __get__(self, task: Any, owner: type | None = None) -> Any:
        method = self._method
        if task is None:
            return method

        @functools.wraps(method)
        async def enqueue(*args: Any, **kwargs: Any) -> Any:
            return await method(task, *args, **kwargs)

        try:
            own = inspect.signature(task.function)
        except (TypeError, ValueError):  # written in C, or says something wrong of itself
            own = inspect.Signature([*inspect.signature(method).parameters.values()][1:])
        result = own.return_annotation
        name = "Any" if result is own.empty else inspect.formatannotation(result).strip("'")
        shown = own.replace(return_annotation=f"TaskHandle[{name}]")
        enqueue.__signature__ = shown  # type: ignore[attr-defined]
        vars(task)[method.__name__] = enqueue  # found before this descriptor from now on
        return enqueue


def like_function(method: F) -> F:
    """Let a coroutine method show the parameters of the function of its task."""
    return cast("F", LikeFunction(method))
