"""What a client asks the owner about the queue as a whole."""

from __future__ import annotations

from typing import Any

from wopr.ports.status import About, GroupExplanation, Status

STATUS_SECONDS = 20.0
"""Who asks whether work flows hears of an owner that does not answer no later than this."""


class RemoteQuestions:
    """Questions over the connection of the class that has this one as its base."""

    _call_seconds: float

    async def _within(self, seconds: float | None, verb: str, *params: Any) -> Any:
        raise NotImplementedError

    async def status(self, *, brief: bool = False) -> Status:
        """Return whether work flows, and why not."""
        return Status.from_plain(await self._soon("status", brief))

    async def explain_group(self, about: About, target: str) -> GroupExplanation:
        """Say why tasks of a category, a name, a flow or a schedule stand where they stand."""
        return GroupExplanation.from_plain(await self._soon("explain_group", about, target))

    async def _soon(self, verb: str, *params: Any) -> Any:
        return await self._within(min(self._call_seconds, STATUS_SECONDS), verb, *params)
