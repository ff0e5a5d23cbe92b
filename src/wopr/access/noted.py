"""Schedules as operators change them: each change is an act."""

from __future__ import annotations

from typing import Any

from wopr.domain.schedule import Schedule
from wopr.domain.standing import View
from wopr.engine.engine import Engine
from wopr.engine.schedules.scheduler import Scheduler


class NotedScheduler(Scheduler):
    """The schedules of one engine, with acts; what the code declares is none of them."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._acts = engine.book

    async def add(self, new: Schedule) -> View:
        """Add a schedule."""
        view = await super().add(new)
        await self._note("add-schedule", new.name)
        return view

    async def replace(self, new: Schedule) -> View:
        """Give a schedule another plan."""
        view = await super().replace(new)
        await self._note("change-schedule", new.name)
        return view

    async def pause(self, name: str, reason: str) -> View:
        """Fire it no more until it is resumed."""
        view = await super().pause(name, reason)
        await self._note("pause-schedule", name, reason=reason)
        return view

    async def resume(self, name: str) -> View:
        """Go on with the next occurrence after now."""
        view = await super().resume(name)
        await self._note("resume-schedule", name)
        return view

    async def remove(self, name: str) -> None:
        """Delete a schedule."""
        await super().remove(name)
        await self._note("remove-schedule", name)

    async def run_now(self, name: str, task_id: str | None = None) -> str:
        """Enqueue one task at once; return its id."""
        made = await super().run_now(name, task_id)
        await self._note("run-schedule", name, task=made)
        return made

    async def _note(self, verb: str, name: str, reason: str = "", **detail: Any) -> None:
        await self._acts.note(verb, {"schedule": name}, detail, reason=reason)
