"""Options that ``add_task`` has among the arguments of the function, as later callers give them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wopr.calls.options import Options
from wopr.calls.registry import TaskDefinition
from wopr.domain.callables import signature_of

_OPTIONS = {
    "run_at": "run_at",
    "delay_seconds": "delay",
    "idempotency_key": "unique_key",
    "connection": "connection",
}
NAMES = frozenset({*_OPTIONS, "skip_worker_check"})


def taken(
    definition: TaskDefinition, kwargs: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    """Move what are options into ``options``; return the function's own arguments.

    What the function can take is its own.
    """
    own = signature_of(definition.function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in own.values()):
        return dict(kwargs)
    given = {name: kwargs[name] for name in NAMES & kwargs.keys() if name not in own}
    for name, option in _OPTIONS.items():
        value = given.get(name)
        if isinstance(value, datetime) and value.tzinfo is None:
            value = value.astimezone()
        if value is not None:
            options[option] = value  # type: ignore[literal-required]
    return {name: value for name, value in kwargs.items() if name not in given}
