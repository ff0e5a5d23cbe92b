"""Which tasks a revocation is about, as far as this process can tell."""

from __future__ import annotations

from wopr.calls.revoking import check_parameters, is_about
from wopr.domain.controls import Revocation
from wopr.domain.errors import InvalidCallError
from wopr.domain.task import TaskRecord
from wopr.fleet.parts import Parts


class Revoking:
    """Looks at the arguments of tasks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def is_about(self, revocation: Revocation, record: TaskRecord) -> bool:
        """Whether a revocation is about a task."""
        return is_about(self._parts.registry, revocation, record)

    async def check_known(self, revocation: Revocation) -> None:
        """Refuse to look at arguments whose names nobody here knows.

        Raises:
            InvalidCallError: it asks for some, and there are tasks of its name.
        """
        if not revocation.where:
            return
        if revocation.task in self._parts.registry.definitions:
            check_parameters(self._parts.registry, revocation)
        elif await self._parts.store.live_of(revocation.task, 0, 1):
            raise InvalidCallError(
                f"The function of task {revocation.task!r} is not registered in this process, "
                "so the names of its arguments are not known and nothing was cancelled. "
                "Revoke where it is registered, or revoke all tasks of this name."
            )
