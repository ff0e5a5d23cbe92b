"""The calls that ``enqueue_many()`` is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown


def parts_of(call: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the positional and the keyword arguments of one call of many.

    Raises:
        InvalidCallError: it is neither a tuple nor a dict.
    """
    if isinstance(call, Mapping):
        return (), call
    if not isinstance(call, tuple | list):
        raise InvalidCallError(
            f"enqueue_many() takes a tuple of positional or a dict of keyword arguments per call, "
            f"not {shown(call)}. For one argument write (value,)."
        )
    return tuple(call), {}


def iterated(calls: Any) -> Iterator[Any]:
    """Return an iterator over many calls.

    Raises:
        InvalidCallError: there is none.
    """
    try:
        return iter(calls)
    except Exception as error:
        raise InvalidCallError(
            "enqueue_many() takes a list of calls, each a tuple of positional or a dict of keyword "
            f"arguments, not {shown(calls)}."
        ) from error
