"""Arguments that may be left out, as ``help()`` and notebooks show them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class LeftOut:
    """A default that says nothing; shown as ``...``, as in a signature of a stub file."""

    def __repr__(self) -> str:
        return "..."


LEFT_OUT: Any = LeftOut()
"""The argument was not given: not the same as ``None``."""


def names_options(options: type) -> Callable[[F], F]:
    """Let the signature name each option of a TypedDict, where the code says ``**options``.

    Type checkers read ``Unpack``; ``help()``, notebooks and editors that ask the running
    program showed ``**options`` and none of them.
    """

    def name_them(function: F) -> F:
        signature = inspect.signature(function)
        kinds = inspect.Parameter
        own = [one for one in signature.parameters.values() if one.kind is not kinds.VAR_KEYWORD]
        each = [
            kinds(
                name,
                kinds.KEYWORD_ONLY,
                default=LEFT_OUT,
                annotation=getattr(hint, "__forward_arg__", hint),
            )
            for name, hint in options.__annotations__.items()
        ]
        shown = signature.replace(parameters=[*own, *each])
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return name_them
