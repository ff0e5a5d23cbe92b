"""What the made-up week writes down, through the storage: as an engine does, at moments past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from wopr.domain.act import Act
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition, added
from wopr.ports.storage import Storage

ORIGIN = "wopr, pid 4711 on shop-1"


class Ledger:
    """Writes to a storage that is open; what it can't take is raised by :meth:`settle`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._failed: BaseException | None = None
        self.acts: list[Act] = []
        self.transitions = 0
        self.tasks = 0

    def add(self, record: TaskRecord) -> None:
        """Write a new task."""
        self.tasks += 1
        self.write(record, added(record))

    def write(self, record: TaskRecord, transition: Transition) -> None:
        """Write one move of a task."""
        self.transitions += 1
        self._storage.submit([(record, transition)], self._done, urgent=False)

    def progress(self, record: TaskRecord, percent: float, message: str) -> None:
        """Write how far a running task is."""
        record.progress, record.progress_message = percent, message
        self._storage.touch(record)

    def log(self, lines: Sequence[LogLine]) -> None:
        """Write what a task logged."""
        self._storage.save_logs(lines)

    def begin(self, verb: str, who: str, moment: datetime, **more: Any) -> Act:
        """Return an act that begins; its transitions are numbered from here on."""
        act = Act(
            number=len(self.acts) + 1,
            verb=verb,
            who=who,
            origin=ORIGIN,
            began_at=moment.replace(tzinfo=UTC),
            ended_at=moment.replace(tzinfo=UTC),
            first_seq=self._storage.newest,
            last_seq=self._storage.newest,
            **more,
        )
        self.acts.append(act)
        return act

    @property
    def newest(self) -> int:
        """The number of the newest transition."""
        return self._storage.newest

    async def settle(self) -> None:
        """Return when the storage has room for more.

        Raises:
            StorageError: something could not be written.
        """
        if self._storage.full:
            await self._storage.room()
        if self._failed is not None:
            raise self._failed

    async def finish(self) -> None:
        """Return when everything is on disk.

        Raises:
            StorageError: something could not be written.
        """
        await self._storage.flush()
        await self.settle()
        for act in self.acts:
            await self._storage.save_act(act)

    def _done(self, error: BaseException | None) -> None:
        self._failed = self._failed or error
