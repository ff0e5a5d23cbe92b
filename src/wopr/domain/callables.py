"""What there is to know about a function before it is called."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any


def is_async_callable(function: object) -> bool:
    """Tell whether calling ``function`` gives a coroutine.

    True for coroutine functions, partials of them, and objects whose
    ``__call__`` is one.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    if inspect.isclass(function) or inspect.isroutine(function):
        return False
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the function itself is wanted
    return inspect.iscoroutinefunction(call)


def signature_of(function: Callable[..., object]) -> inspect.Signature:
    """Return the signature, or that of ``(*args, **kwargs)`` where there is none (builtins)."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return inspect.Signature(
            [
                inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
            ]
        )


def signature_text(
    function: Callable[..., object],
    name: str | None = None,
    signature: inspect.Signature | None = None,
) -> str:
    """Return the signature as it would be written, like ``send(to: str, n: int = 1) -> None``."""
    try:
        title = name or getattr(function, "__name__", None) or type(function).__name__
        signature = signature or signature_of(function)
        parameters = [
            parameter.replace(annotation=_unquoted(parameter.annotation))
            for parameter in signature.parameters.values()
        ]
        returns = _unquoted(signature.return_annotation)
        text = str(signature.replace(parameters=parameters, return_annotation=returns))
    except Exception:  # a default value or an annotation whose repr() raises
        return f"{name or 'function'}(…)"
    return f"{title}{text}"


class _Unquoted:
    """An annotation given as text, shown without the quotes."""

    def __init__(self, text: str) -> None:
        """Show ``text``."""
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _unquoted(annotation: object) -> object:
    return _Unquoted(annotation) if isinstance(annotation, str) else annotation


def annotation_text(annotation: object) -> str:
    """Return an annotation as it would be written."""
    if isinstance(annotation, str):
        return annotation
    try:
        return inspect.formatannotation(annotation)
    except Exception:
        return "its annotation"


def resolved_hints(function: Callable[..., object], signature: inspect.Signature) -> dict[str, Any]:
    """Return the annotations by parameter name (and ``return``), texts evaluated.

    One that can't be evaluated or is missing counts as ``Any``.
    """
    scopes = _scopes(function)
    hints = {
        name: _resolve(parameter.annotation, scopes)
        for name, parameter in signature.parameters.items()
    }
    hints["return"] = _resolve(signature.return_annotation, scopes)
    return hints


def _resolve(annotation: object, scopes: tuple[dict[str, Any], Mapping[str, Any]]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if annotation is None:
        return type(None)
    try:
        holder: Any = SimpleNamespace(__annotations__={"it": annotation})
        return typing.get_type_hints(holder, scopes[0], scopes[1], include_extras=True)["it"]
    except Exception:
        return Any


def _scopes(function: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the global and the enclosing names that annotations of ``function`` may use."""
    function = innermost(function)
    names: dict[str, Any] = {}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), cells or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for parameter in getattr(function, "__type_params__", ()):
        names[parameter.__name__] = parameter
    return getattr(function, "__globals__", {}), names


def innermost(function: Any) -> Any:
    """Return what has the code, inside of partials, wrappers, methods, classes and objects."""
    for _ in range(100):  # more layers than anyone wraps, and an end for objects that say yes
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.ismethod(function):
            function = function.__func__
        elif inspect.isclass(function):
            function = function.__init__
        elif not inspect.isroutine(function) and hasattr(type(function), "__call__"):  # noqa: B004
            function = type(function).__call__
        else:
            break
    return function
