"""Schedules of a storage that has no table for them: kept for the life of the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wopr.domain.schedule import Schedule
from wopr.domain.snapshot import aware
from wopr.domain.status import LIVE, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.ports.storage import ScheduleProgress


class SeedSchedules:
    """Keeps schedules in memory."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._records: dict[str, TaskRecord] = {}

    async def schedules(self) -> list[Schedule]:
        """Return all schedules, by name."""
        return [replace(self._schedules[name]) for name in sorted(self._schedules)]

    async def save_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Keep new and changed schedules."""
        for schedule in schedules:
            self._schedules[schedule.name] = replace(schedule)

    async def delete_schedule(self, name: str) -> None:
        """Forget a schedule."""
        self._schedules.pop(name, None)

    async def schedule_progress(self) -> dict[str, ScheduleProgress]:
        """Return what the tasks say about each schedule that has any."""
        tasks: dict[str, list[TaskRecord]] = {}
        for record in sorted(self._records.values(), key=lambda item: item.seq):
            if record.schedule in self._schedules:
                tasks.setdefault(record.schedule, []).append(record)
        return {name: _progress(self._schedules[name], found) for name, found in tasks.items()}


def _progress(schedule: Schedule, records: Sequence[TaskRecord]) -> ScheduleProgress:
    since = schedule.updated_at
    planned = [
        (moment, record.id)
        for record in records
        if (moment := aware(record.scheduled_for)) is not None
        and (since is None or record.created_at >= since.replace(tzinfo=None))
    ]
    newest, newest_id = max(planned, default=(None, None))
    succeeded = [
        (record.completed_at, record.id)
        for record in records
        if record.status is TaskStatus.SUCCESS and record.completed_at is not None
    ]
    live = tuple(record.id for record in records if record.status in LIVE)
    return ScheduleProgress(newest, newest_id, live, max(succeeded, default=(None, None))[1])
