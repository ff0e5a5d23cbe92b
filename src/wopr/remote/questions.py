"""What a client asks the owner about the queue as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wopr.ports.status import About, GroupExplanation, Status
from wopr.ports.storage import Snapshot

STATUS_SECONDS = 20.0
"""Who asks whether work flows hears of an owner that does not answer no later than this."""


BACKUP_SECONDS = 120.0
"""The owner gives a copy up that takes a minute; another one may be made before."""


ARCHIVE_SECONDS = 120.0
"""The owner answers after some seconds, and the portion that it is at."""


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

    async def backup(self) -> Snapshot:
        """Return a copy of the database as of now, which belongs to whoever asked."""
        path, moment, taken = await self._within(BACKUP_SECONDS, "backup")
        return Snapshot(Path(path), moment, taken)

    async def _soon(self, verb: str, *params: Any) -> Any:
        return await self._within(min(self._call_seconds, STATUS_SECONDS), verb, *params)
