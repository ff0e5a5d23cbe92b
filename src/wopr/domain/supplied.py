"""Parameters that are no part of a call: wopr fills them with resources when the task runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, NoReturn, get_origin

from wopr.domain.callables import resolved_hints
from wopr.domain.errors import InvalidCallError

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BY_KEYWORD_ONLY = sys.maxsize


class Provided:
    """The default value of a parameter that a resource fills."""

    def __repr__(self) -> str:
        return "provided"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what copy, inspect and the like ask every object for
            raise AttributeError(name)
        raise InvalidCallError(
            f"Somebody asks for .{name} of a parameter whose default is `provided`: wopr fills it "
            "when a worker runs the task. Where you call the function yourself, pass the value."
        )


provided: Any = Provided()
"""Say with it that a parameter is filled by a resource: ``client: Client = provided``.

To type checkers the parameter then has a default, so that calls without it are right.
"""


class Supplied(NamedTuple):
    """One parameter that a resource fills."""

    name: str
    hint: Any
    """The annotation, which a resource provides."""
    place: int
    """Its position among all that can be given by position."""


def without_annotated(hint: Any) -> Any:
    """Return ``T`` of ``Annotated[T, …]``, and any other annotation as it is."""
    return hint.__origin__ if get_origin(hint) is Annotated else hint


def split(
    function: Callable[..., object],
    signature: inspect.Signature,
    provides: Callable[[Any], bool],
) -> tuple[inspect.Signature, tuple[Supplied, ...]]:
    """Return what callers give, and what resources fill.

    Args:
        function: its annotations are looked up where it was defined.
        signature: of the function.
        provides: whether there is a resource for an annotation.

    Raises:
        InvalidCallError: a resource would have to fill a positional-only parameter.
    """
    hints = resolved_hints(function, signature)
    supplied: list[Supplied] = []
    rest: list[inspect.Parameter] = []
    for place, parameter in enumerate(signature.parameters.values()):
        hint = without_annotated(hints[parameter.name])
        if parameter.kind in _STARRED or not (parameter.default is provided or provides(hint)):
            rest.append(parameter)
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise InvalidCallError(
                f"Parameter {parameter.name!r} of {getattr(function, '__qualname__', function)} is "
                "filled by a resource, so it can't be positional-only. Move it behind the '/'."
            )
        by_position = parameter.kind in _BY_POSITION
        supplied.append(Supplied(parameter.name, hint, place if by_position else _BY_KEYWORD_ONLY))
    return signature.replace(parameters=rest), tuple(supplied)


def arranged(
    supplied: tuple[Supplied, ...],
    values: tuple[object, ...],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments with the values of the parameters that resources fill."""
    ordered, named = list(args), dict(kwargs)
    for parameter, value in zip(supplied, values, strict=True):
        if parameter.place <= len(ordered):
            ordered.insert(parameter.place, value)
        else:
            named[parameter.name] = value
    return tuple(ordered), named
