"""How things that tasks share are declared: the part of the queue that is about resources."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Hashable,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar, get_args, get_origin, overload

from wopr.calls.resources import Resource
from wopr.domain.callables import resolved_hints, signature_of
from wopr.domain.checks import check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.supplied import without_annotated
from wopr.queue.face import Face

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT = 10.0
_YIELDING = {
    *(AsyncIterator, AsyncGenerator, AsyncIterable, Iterator, Generator, Iterable),
    *(AbstractAsyncContextManager, AbstractContextManager),
}
_COMMON = {"builtins", "typing", "types", "datetime", "decimal", "pathlib", "uuid"}


class Resources(Face):
    """Declares resources: things with a lifespan that tasks get by annotation."""

    @overload
    def resource(self, function: F, /) -> F: ...
    @overload
    def resource(
        self, *, provides: Any = None, timeout: float | timedelta = TIMEOUT
    ) -> Callable[[F], F]: ...
    def resource(
        self,
        *functions: Any,
        provides: Any = None,
        timeout: float | timedelta = TIMEOUT,
    ) -> Any:
        """Declare something that tasks share, like a client or a pool of connections.

        The function is a generator function, async or not, with one ``yield``; or it returns
        a context manager. A parameter of a task whose annotation is the yielded type is
        filled with what it yields, and is no part of the task's call. It is opened in each
        process when the first task needs it, once for all of them, and closed by
        ``shutdown`` after the tasks have ended, the last opened first. If it can't be
        opened, that attempt of the task fails, and the next one tries again.

        Its own parameters are filled by other resources. It is opened and closed in a context
        of its own, a plain generator in a thread. Works with and without parentheses, and
        returns the function unchanged.

        Args:
            *functions: the function, when used without parentheses.
            provides: the annotation, or a tuple of annotations, that it fills, like a base
                class or a protocol; ``None`` means the type that the function says it yields.
            timeout: seconds that opening it may take, and as many for closing it.

        Raises:
            InvalidCallError: it is none of these, what it provides is not known or too
                common, something else provides the same, or it depends on itself.
        """

        def declare(declared: F) -> F:
            seconds = check_seconds(timeout, "timeout", zero="refuse")
            self._core.registry.add_resource(_resource(declared, provides, seconds))
            return declared

        return declare(*functions) if functions else declare

    def override(self, resource: Any, value: Any) -> AbstractContextManager[None]:
        """Give tasks something else instead of a resource, for a ``with`` block: in tests.

        Nothing is opened for it and nothing closed. Where overrides are nested, the inner one
        counts. Another resource that was opened before keeps what it was made of.

        Args:
            resource: the function that was declared, or a type that it provides.
            value: what the parameters are filled with.

        Raises:
            InvalidCallError: there is no such resource.
        """
        return self._core.registry.resources.override(resource, value)


def _resource(function: Any, provides: Any, timeout: float) -> Resource:
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise InvalidCallError(
            "A resource is a generator function with one yield: async def client() -> "
            f"AsyncIterator[Client]: … yield client. This is {shown(function)}."
        )
    name = getattr(function, "__qualname__", type(function).__qualname__)
    name = f"{getattr(function, '__module__', '?')}.{name}"
    manager = function
    if inspect.isasyncgenfunction(function):
        manager = contextlib.asynccontextmanager(function)
    elif inspect.isgeneratorfunction(function):
        manager = contextlib.contextmanager(function)
    if provides is None:
        hints = (_yielded(function, name),)
    else:
        hints = provides if isinstance(provides, tuple) else (provides,)
    for hint in hints:
        _check_hint(hint, name)
    return Resource(name, function, manager, tuple(map(without_annotated, hints)), timeout)


def _yielded(function: Callable[..., Any], name: str) -> Any:
    """Return what the function says that it yields."""
    hint = resolved_hints(function, signature_of(function))["return"]
    if get_origin(hint) in _YIELDING and get_args(hint):
        return get_args(hint)[0]
    raise InvalidCallError(
        f"What resource {name!r} provides is not known. Annotate what it yields, -> "
        "AsyncIterator[Client] or -> Iterator[Client], with a type that is there when the "
        "function is declared; or say @queue.resource(provides=Client)."
    )


def _check_hint(hint: Any, name: str) -> None:
    """Refuse what parameters of any task may well be annotated with."""
    module = getattr(hint, "__module__", "builtins")
    if module in _COMMON or isinstance(hint, TypeVar) or not isinstance(hint, Hashable):
        raise InvalidCallError(
            f"Resource {name!r} can't provide {shown(hint)}: parameters of many tasks are "
            "annotated like that, and all of them would be filled with it. Give it a type of its "
            "own, a class or typing.NewType."
        )
