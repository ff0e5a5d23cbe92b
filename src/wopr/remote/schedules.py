"""Schedules through the socket: what a client asks, and what the owner answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from wopr.domain.schedule import Schedule
from wopr.domain.standing import Standing, View
from wopr.ports.backend import Backend
from wopr.remote.messages import Label, NewId, NewSchedule, NewSchedules, Reason, ScheduleRow


def view_to_plain(view: View) -> list[Any]:
    """Return a schedule and what it is doing as they travel."""
    row, standing = view
    return [row.row(), standing.reason, standing.text, standing.live]


def view_from_plain(plain: Any) -> View:
    """Return what the owner sent."""
    row, reason, text, live = plain
    return Schedule.from_row(row), Standing(reason, text, tuple(live))


class RemoteSchedules:
    """The client's side."""

    def __init__(self, call: Callable[..., Awaitable[Any]], new_id: Callable[[], str]) -> None:
        self._call = call
        self._new_id = new_id

    async def sync(self, declared: Sequence[Schedule], *, complete: bool) -> None:
        """Bring the rows up to what the code declares."""
        await self._call("schedule_sync", [new.row() for new in declared], complete)

    async def add(self, new: Schedule) -> View:
        """Add a schedule."""
        return view_from_plain(await self._call("schedule_add", new.row()))

    async def replace(self, new: Schedule) -> View:
        """Give a schedule another plan."""
        return view_from_plain(await self._call("schedule_replace", new.row()))

    async def pause(self, name: str, reason: str) -> View:
        """Fire it no more until it is resumed."""
        return view_from_plain(await self._call("schedule_pause", name, reason))

    async def resume(self, name: str) -> View:
        """Go on with the next occurrence after now."""
        return view_from_plain(await self._call("schedule_resume", name))

    async def remove(self, name: str) -> None:
        """Delete a schedule."""
        await self._call("schedule_remove", name)

    async def run_now(self, name: str, task_id: str | None = None) -> str:
        """Enqueue one task at once; return its id, which is made here."""
        return cast("str", await self._call("schedule_run", name, task_id or self._new_id()))

    async def all(self) -> list[View]:
        """Return all schedules by name."""
        return [view_from_plain(plain) for plain in await self._call("schedule_all")]

    async def get(self, name: str) -> View:
        """Return a schedule and what it is doing."""
        return view_from_plain(await self._call("schedule_get", name))

    async def tick(self) -> list[str]:
        """Fire what is due; return the ids of the tasks."""
        return cast("list[str]", await self._call("schedule_tick"))


class ScheduleVerbs:
    """The owner's side: the public methods of this class are verbs of the socket."""

    _backend: Backend

    async def schedule_sync(self, declared: NewSchedules, complete: bool) -> None:  # noqa: FBT001
        await self._backend.schedules.sync(declared, complete=complete)

    async def schedule_add(self, new: NewSchedule) -> list[Any]:
        return view_to_plain(await self._backend.schedules.add(new))

    async def schedule_replace(self, new: ScheduleRow) -> list[Any]:
        return view_to_plain(await self._backend.schedules.replace(new))

    async def schedule_pause(self, name: Label, reason: Reason) -> list[Any]:
        return view_to_plain(await self._backend.schedules.pause(name, reason))

    async def schedule_resume(self, name: Label) -> list[Any]:
        return view_to_plain(await self._backend.schedules.resume(name))

    async def schedule_remove(self, name: Label) -> None:
        await self._backend.schedules.remove(name)

    async def schedule_run(self, name: Label, task_id: NewId) -> str:
        return await self._backend.schedules.run_now(name, task_id)

    async def schedule_all(self) -> list[Any]:
        return [view_to_plain(view) for view in await self._backend.schedules.all()]

    async def schedule_get(self, name: Label) -> list[Any]:
        return view_to_plain(await self._backend.schedules.get(name))

    async def schedule_tick(self) -> list[str]:
        return await self._backend.schedules.tick()
