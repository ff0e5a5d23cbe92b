"""Write down that tasks wait no longer for others, where their claim does not say it.

A task that is free and starts soon needs no transition for that. One that no worker took
after a moment, or that leaves memory, gets one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from wopr.domain import decide
from wopr.domain.clock import naive_now
from wopr.domain.spoken import counted
from wopr.domain.status import CLAIMABLE, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.engine.pools.pool import Pool
from wopr.engine.shared import Shared
from wopr.ports.storage import Entry

log = logging.getLogger(__name__)

BATCH = 5_000
BACK_OFF = 0.25
UNWRITTEN_SECONDS = 1.0


class Releasing:
    """The releases of one engine."""

    def __init__(self, shared: Shared, pool: Callable[[str], Pool]) -> None:
        self._shared = shared
        self._pool = pool
        self._unwritten: list[tuple[str, int]] = []  # not the tasks: most have run by then
        self.closed = False
        """Nothing is written any more: the next opening looks at them."""

    def note(self, record: TaskRecord) -> None:
        """Write it down in a moment, unless a worker has taken the task by then."""
        if not self._unwritten:
            self._shared.loop.call_later(UNWRITTEN_SECONDS, self._write_down)
        self._unwritten.append((record.id, record.version))

    def _write_down(self) -> None:
        live, noted = self._shared.live, self._unwritten
        self._unwritten = []
        # One that was put back in its queue since may wait for its parents again.
        records = [
            record
            for task_id, version in noted
            if (record := live.get(task_id)) is not None and record.version == version
        ]
        for at in range(0, len(records), BATCH):
            self._release(records[at : at + BATCH], in_lanes=True)

    def release(self, records: Sequence[TaskRecord]) -> None:
        """Write it down for tasks that memory has no room for, then leave them to the storage."""
        self._release(records, in_lanes=False)

    def _release(self, records: Sequence[TaskRecord], *, in_lanes: bool) -> None:
        if self.closed:
            return
        entries = self._entries(records, in_lanes=in_lanes)
        if not entries:
            return

        def written(error: BaseException | None) -> None:
            for record, _ in entries:
                pool = self._pool(record.category)
                pool.wake()  # it took none of them while they were written
                if error is None and not in_lanes and record.status is TaskStatus.PENDING:
                    pool.restore(record)
            if error is not None:
                log.error("Letting %s start failed: %s", counted(len(entries), "task"), error)
                self._later([record for record, _ in entries], in_lanes=in_lanes)

        self._shared.submit(entries, written, urgent=not in_lanes)

    def _entries(self, records: Sequence[TaskRecord], *, in_lanes: bool) -> list[Entry]:
        """Return what is to be written; what somebody else writes, or wrote, is looked after."""
        now = naive_now(self._shared.clock)
        entries: list[Entry] = []
        later: list[TaskRecord] = []
        for record in records:
            if self._shared.live.get(record.id) is not record:  # it has left memory
                continue
            if self._shared.storage.in_flight(record):  # claimed, cancelled or released now
                later.append(record)
                continue
            transition = decide.release(record, now, None)
            if transition is not None:
                entries.append((record, transition))
            elif not in_lanes and record.status in CLAIMABLE:
                self._pool(record.category).restore(record)
        if later and not in_lanes:
            self._later(later, in_lanes=False)
        return entries

    def _later(self, records: Sequence[TaskRecord], *, in_lanes: bool) -> None:
        self._shared.loop.call_later(BACK_OFF, lambda: self._release(records, in_lanes=in_lanes))
