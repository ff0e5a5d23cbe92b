"""Which tasks a revocation is about, by the arguments of their calls."""

from __future__ import annotations

from collections.abc import Mapping

from wopr.calls.registry import Registry
from wopr.domain.callables import signature_of
from wopr.domain.controls import Revocation, matches
from wopr.domain.errors import InvalidCallError
from wopr.domain.task import TaskRecord


def is_about(registry: Registry, revocation: Revocation, record: TaskRecord) -> bool:
    """Whether a revocation is about a task, as far as its arguments are known here."""
    if not revocation.where:
        return True
    arguments = arguments_of(registry, record.name, record.args, record.kwargs)
    return arguments is not None and matches(revocation.where, arguments)


def arguments_of(
    registry: Registry, name: str, args: str, kwargs: str
) -> Mapping[str, object] | None:
    """Return the arguments of a call by name; ``None`` if nobody here knows them."""
    definition = registry.definitions.get(name)
    if definition is None:
        return None
    try:
        return definition.codec.arguments(args, kwargs)
    except Exception:  # noqa: BLE001 - they do not fit the function any more
        return None


def check_parameters(registry: Registry, revocation: Revocation) -> None:
    """Refuse to compare a parameter that the function does not have: none would ever fit.

    Raises:
        InvalidCallError: it is asked for.
    """
    parameters = signature_of(registry.definitions[revocation.task].function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    unknown = sorted(
        one for one in revocation.where if one.isidentifier() and one not in parameters
    )
    if unknown:
        raise InvalidCallError(
            f"Task {revocation.task!r} has no parameter {', '.join(map(repr, unknown))}, so "
            f"where= would match no task and nothing was cancelled. It has "
            f"{', '.join(map(repr, parameters)) or 'none'}."
        )
