"""A handler's method as a function without ``self``, which the engine can run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from wopr.auth.metadata import MARKS, close_marks, requirements_of
from wopr.domain.callables import is_async_callable, signature_of
from wopr.domain.errors import InvalidCallError
from wopr.handlers.instance import Instance

_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


class HandlerMethod:
    """Calls one method of the queue's instance of a handler class.

    To others it looks like the method itself: its names, its signature without
    ``self``, its code, and the auth marks of the method and of its class.

    Raises:
        InvalidCallError: the method has no ``self``.
        ConflictingAuthMetadataError: it is public and protected at once.
    """

    __slots__ = ("__dict__", "_instance", "_name")

    def __init__(
        self, instance: Instance[Any], handler_type: type, name: str, method: Callable[..., Any]
    ) -> None:
        functools.update_wrapper(cast("Callable[..., Any]", self), method)
        self._instance = instance
        self._name = name
        vars(self).update(
            {
                "__qualname__": f"{handler_type.__qualname__}.{name}",
                "__module__": handler_type.__module__,
                "__signature__": _without_self(method, handler_type, name),
                "__code__": getattr(inspect.unwrap(method), "__code__", None),
                MARKS: requirements_of(method, handler_type),
            }
        )
        close_marks(method, handler_type)


class SyncMethod(HandlerMethod):
    """A plain method; workers run it in a thread."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it in this thread."""
        return getattr(self._instance.get(), self._name)(*args, **kwargs)


class AsyncMethod(HandlerMethod):
    """A coroutine method."""

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it and wait for it."""
        return await getattr(await self._instance.get_async(), self._name)(*args, **kwargs)


def handler_method(
    instance: Instance[Any], handler_type: type, name: str, method: Callable[..., Any]
) -> SyncMethod | AsyncMethod:
    """Return the method of the kind that it is."""
    kind = AsyncMethod if is_async_callable(method) else SyncMethod
    return kind(instance, handler_type, name, method)


def _without_self(method: Callable[..., Any], handler_type: type, name: str) -> inspect.Signature:
    signature = signature_of(method)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in _BY_POSITION:
        raise InvalidCallError(
            f"{handler_type.__qualname__}.{name} has no self as its first parameter, so it can't "
            "be called on an instance. Add it."
        )
    if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        del parameters[0]
    return signature.replace(parameters=parameters)
