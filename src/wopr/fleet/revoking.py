"""Which tasks a revocation is about, as far as this process can tell."""

from __future__ import annotations

from wopr.domain.callables import signature_of
from wopr.domain.controls import Revocation
from wopr.domain.errors import InvalidCallError
from wopr.domain.task import TaskRecord
from wopr.fleet.fleet import Fleet


class Revoking:
    """Looks at the arguments of tasks."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def is_about(self, revocation: Revocation, record: TaskRecord) -> bool:
        """Whether a revocation is about a task."""
        return self._fleet.claiming.is_about(revocation, record)

    async def check_known(self, revocation: Revocation) -> None:
        """Refuse to look at arguments whose names nobody here knows.

        Raises:
            InvalidCallError: it asks for some, and there are tasks of its name.
        """
        definition = self._fleet.parts.registry.definitions.get(revocation.task)
        if not revocation.where:
            return
        if definition is None:
            if await self._fleet.parts.store.live_of(revocation.task, 0, 1):
                raise InvalidCallError(
                    f"The function of task {revocation.task!r} is not registered in this process, "
                    "so the names of its arguments are not known and nothing was cancelled. "
                    "Revoke where it is registered, or revoke all tasks of this name."
                )
            return
        parameters = signature_of(definition.function).parameters
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
