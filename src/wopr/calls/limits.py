"""The limit that a declaration sets for its task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wopr.calls.options import LimitOptions
from wopr.domain.callables import signature_of
from wopr.domain.checks import check_count
from wopr.domain.errors import InvalidCallError
from wopr.domain.limits import Limit, check_expression, parse_rate


def limit_of(
    function: Callable[..., Any], name: str, category: str, options: LimitOptions
) -> Limit | None:
    """Return the limit that is declared with a function; ``None`` if none is.

    Raises:
        InvalidCallError: a value can't be what it has to be, or the key is no parameter.
    """
    limit, given, key = options.get("limit"), options.get("rate"), options.get("key")
    if limit is None and given is None:
        if key is not None:
            raise InvalidCallError(
                f"Task {name!r} has key={key!r}, and nothing that counts for each value of it. Add "
                "limit= or rate=, or leave it out."
            )
        return None
    rate, per = (None, None) if given is None else parse_rate(given)
    return Limit(
        category=category,
        task=name,
        key=None if key is None else _key(function, name, key),
        concurrency=None if limit is None else check_count(limit, "limit", least=1),
        rate=rate,
        per=per,
    )


def _key(function: Callable[..., Any], name: str, key: str) -> str:
    """Refuse a parameter that the function does not have: no call would be limited by it."""
    key = check_expression(key, "key")
    parameters = signature_of(function).parameters
    taken = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    if key.isidentifier() and key not in parameters and not taken:
        raise InvalidCallError(
            f"Task {name!r} has no parameter {key!r}, so key={key!r} would limit no call. It has "
            f"{', '.join(map(repr, parameters)) or 'none'}."
        )
    return key
