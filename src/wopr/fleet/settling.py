"""What came of attempts: decided here, written many at once, and again until it is known."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from wopr.domain import decide
from wopr.domain.errors import StorageError
from wopr.domain.outcome import Outcome
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.fleet.changing import Changing
from wopr.fleet.parts import Parts
from wopr.ports.storage import Entry
from wopr.running.attempt import Attempt

log = logging.getLogger(__name__)

MOST_AT_ONCE = 200
FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 5.0


class Settling:
    """Writes the outcomes of this host's attempts."""

    def __init__(self, parts: Parts, changing: Changing) -> None:
        self._parts = parts
        self._changing = changing
        self._waiting: deque[Entry] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._alone = 0
        """So many are written one by one: the server refused them together."""
        self._complained: set[str] = set()

    def settle(self, attempt: Attempt, outcome: Outcome, elapsed: float) -> None:
        """Decide what an outcome comes to, and write it soon."""
        transition = decide.settle(attempt.record, attempt.number, outcome, elapsed)
        if transition is not None:
            self.write(attempt.record, transition)

    def write(self, record: TaskRecord, transition: Transition) -> None:
        """Write a change of a task that runs here, soon."""
        self._waiting.append((record, transition))
        if self._task is None:
            self._task = self._parts.around.loop.create_task(self._work())

    def ids(self) -> set[str]:
        """Return the tasks whose outcomes are not written yet."""
        return {record.id for record, _ in self._waiting}

    async def _work(self) -> None:
        back_off = FIRST_BACK_OFF
        try:
            await asyncio.sleep(0)  # what ends in the same turn goes along
            while self._waiting:
                most = 1 if self._alone else MOST_AT_ONCE
                batch = [self._waiting[at] for at in range(min(len(self._waiting), most))]
                try:
                    await self._settle(batch)
                except StorageError as error:
                    said = counted(len(batch), "task")
                    log.error("The outcome of %s can't be stored yet: %s", said, error)
                    if self._closing:  # its lease ends, and others recover them
                        self._waiting.clear()
                        return
                    if self._goes_on(error, len(batch)):
                        continue
                    await asyncio.sleep(back_off)
                    back_off = min(2 * back_off, LONGEST_BACK_OFF)
                    continue
                self._alone = max(self._alone - 1, 0)
                back_off = FIRST_BACK_OFF
                for _ in batch:
                    self._waiting.popleft()
        finally:
            self._task = None
            if self._waiting:
                self._task = self._parts.around.loop.create_task(self._work())

    def _goes_on(self, error: StorageError, count: int) -> bool:
        """Whether the next try need not wait: what the server refuses holds up nothing else."""
        if error.in_doubt or error.unreached:
            return False
        if count > 1:
            self._alone = count
            return True
        self._waiting.rotate(-1)
        self._alone = max(self._alone - 1, 0)
        return self._alone > 0

    async def _settle(self, batch: list[Entry]) -> None:
        """Write outcomes in one statement; those that others wait for, each with what follows."""
        by_id = {record.id: transition for record, transition in batch}
        rows = await self._parts.store.change(batch)
        done = [(record, by_id.pop(record.id)) for record, _ in rows]
        self._parts.tell(done)
        for record, _ in done:
            if decide.is_unfit(record):
                self._complain(record)
        for record, transition in batch:
            if record.id in by_id and not await self._changing.made([(record, transition)]):
                log.info(
                    "Attempt %d of task %s (%s) ended after it had been taken from this host; "
                    "its outcome is ignored.",
                    record.attempt,
                    record.id,
                    record.name,
                )

    def _complain(self, record: TaskRecord) -> None:
        """Say once for each name that its tasks don't fit their function."""
        if record.name in self._complained:
            return
        self._complained.add(record.name)
        log.error(
            "Task %s (%s) waits, because it does not fit its function: %s It goes on after a "
            "deploy that it fits again; so do others of its name that do not fit. See them: "
            "wopr tasks list --name %s; try one again: wopr tasks retry ID.",
            record.id,
            record.name,
            record.error,
            record.name,
        )

    async def close(self) -> None:
        """Write what is left, and no more."""
        self._closing = True
        while (task := self._task) is not None:
            await asyncio.wait([task])
