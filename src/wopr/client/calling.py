"""One call of both clients: written once, it is sent at once by the one, awaited by the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

from wopr.client.later import AsyncSender
from wopr.client.now import Sender
from wopr.client.requests import Asked, Given, Row, Steps

P = ParamSpec("P")
T = TypeVar("T")


class Call(Generic[P, T]):
    """A method of both clients. Read from a class it is this, with its row."""

    def __init__(
        self, steps: Callable[P, Steps[T]], said: Callable[P, Any], row: Row[T] | None
    ) -> None:
        self.steps = steps
        self.said = said
        """The function that was written: its name, parameters and docstring."""
        self.row = row
        """What it is in the API; ``None``: it consists of several calls."""
        self.__name__, self.__doc__ = said.__name__, said.__doc__
        self.__wrapped__ = said

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...

    @overload
    def __get__(self, client: Sender, owner: type) -> Callable[P, T]: ...

    @overload
    def __get__(self, client: AsyncSender, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, client: Sender | AsyncSender | None, owner: type) -> Any:
        if client is None:
            return self

        @functools.wraps(self.said)
        def called(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.carry_out(self.steps(*args, **kwargs))

        return called


def call(
    method: str,
    path: str,
    answer: type[T],
    *,
    key: str | None = None,
    reads: bool | None = None,
) -> Callable[[Callable[P, Given]], Call[P, T]]:
    """Make a function that says what a call is given into the call.

    Args:
        method: of HTTP.
        path: below ``/api/v1``, with the names of its parts in braces.
        answer: the type of what is given back.
        key: the field of the answer that is given back, if not all of it.
        reads: whether it changes nothing; without it, whether the method is ``GET``.
    """
    changes_nothing = method == "GET" if reads is None else reads
    row = Row(method=method, path=path, answer=answer, key=key, reads=changes_nothing)

    def made(given: Callable[P, Given]) -> Call[P, T]:
        def steps(*args: P.args, **kwargs: P.kwargs) -> Steps[T]:
            return cast("T", (yield Asked(row, given(*args, **kwargs))))

        return Call(steps, given, row)

    return made


def calls(steps: Callable[P, Steps[T]]) -> Call[P, T]:
    """Make several requests, one after the other, into one call."""
    return Call(steps, steps, None)
