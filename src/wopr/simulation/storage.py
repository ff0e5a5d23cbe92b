"""A storage in memory for one life of a simulated process: its writes may fail, wait, get lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from wopr.domain.act import Act
from wopr.domain.errors import StorageError
from wopr.domain.fold import apply
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.schedule import Schedule
from wopr.domain.status import Move
from wopr.domain.task import TaskRecord
from wopr.ports.storage import Done, Entry
from wopr.simulation.disk import Disk, Write
from wopr.simulation.faults import Dice
from wopr.simulation.reads import SimulatedReads

LINGER_SECONDS = 0.002
FULL, OVERFULL = 200, 400
"""So many writes may wait before callers have to, and before nothing more is claimed."""


class SimulatedStorage(SimulatedReads):
    """Implements the storage port over a :class:`Disk`.

    Writes are made in groups, in the order of hand-over, as a journal makes them: what was
    handed over while one group is under way is the next one. A group that is refused takes none of
    those behind it along.

    Args:
        disk: what survives.
        dice: says what goes wrong.
        die: called when the process is to die now.
        synced: whether each write is synced before it is acknowledged.
    """

    def __init__(
        self, disk: Disk, dice: Dice, die: Callable[[], None], *, synced: bool = True
    ) -> None:
        super().__init__(disk, dice)
        self._die = die
        self._synced = synced
        self._seq = disk.seq
        self._queue: deque[Write] = deque()
        self._group: list[Write] = []
        self._writing = self._ending = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- life ---------------------------------------------------------------

    async def open(self) -> None:
        """Begin."""
        if self._dice.read_fails():
            raise StorageError("The simulated disk could not be read. Open the queue again.")
        self._loop = asyncio.get_running_loop()
        self._seq = self._disk.seq
        self.closed = False

    async def close(self) -> None:
        """Write what is left. Idempotent."""
        if not (self.closed or self.dead):
            await self.flush()
            self._disk.sync()  # closing in order leaves a complete file
            self.closed = True

    def lose_power(self) -> None:
        """Lose what is not on disk; what was just being written may be there or not."""
        self.dead = True
        if self._group and self._dice.lands():
            self._disk.commit(self._group)
        self._group = []
        self._queue.clear()

    def bury(self) -> None:
        """Refuse what is asked from now on: those who wait for the dead are to go."""
        self.lose_power()
        self.closed = True

    # -- writes -------------------------------------------------------------

    def submit(
        self, entries: Sequence[Entry], done: Done, *, urgent: bool = True, now: bool = False
    ) -> None:
        """Apply the transitions and make them durable; see the port."""
        if self.dead:  # nobody will ever hear of it
            return
        self._check()
        write = Write(done, at=asyncio.get_running_loop().time())
        last: TaskRecord | None = None
        for record, made in entries:
            self._seq += 1
            made.seq = self._seq
            if record is not last:
                write.records.append(record)
                write.before.append(record.stored)
                last = record
            if made.move is Move.ADD:
                record.seq = record.version = self._seq
                write.added[record.id] = record.row()
            else:
                apply(record, made)
            write.made.append(made)
        self._disk.handed_over(write, self._under_way())
        for record in write.records:
            record.stored = record.row()
            write.rows.append(record.stored)
        self._hand_over(write, urgent=urgent, now=now)
        if self._dice.crashes():
            self._die()

    def _hand_over(self, write: Write, *, urgent: bool, now: bool) -> None:
        if self.dead:
            return
        idle = not (self._queue or self._group or self._writing)
        self._queue.append(write)
        if now and idle and self._dice.at_once():
            self._writing = True
            try:
                self._finish(self._take())
            finally:
                self._writing = False
            self._go_on()
        elif urgent:
            self.hurry()
        elif self._timer is None and not self._ending:
            assert self._loop is not None
            self._timer = self._loop.call_later(LINGER_SECONDS, self._begin)

    def hurry(self) -> None:
        """Let nothing linger any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._ending:
            assert self._loop is not None
            self._ending = True
            self._loop.call_soon(self._begin)

    def _go_on(self) -> None:
        if self._queue:
            self.hurry()

    def _take(self) -> list[Write]:
        group = list(self._queue)
        self._queue.clear()
        return group

    def _begin(self) -> None:
        """Begin to write what was handed over."""
        self._ending, self._timer = False, None
        if self._group or self._writing or self.dead:
            return
        self._group = self._take()
        if not self._group:
            return
        seconds = self._dice.commit_seconds()
        if seconds:
            assert self._loop is not None
            self._loop.call_later(seconds, self._written)
        else:
            self._written()

    def _written(self) -> None:
        if self.dead:
            return
        group, self._group = self._group, []
        self._writing = True
        try:
            self._finish(group)
        finally:
            self._writing = False
        self._go_on()

    def _finish(self, group: list[Write]) -> None:
        """Make a group durable, or refuse it, and tell the callers."""
        error: StorageError | None = None
        if any(one.made or one.operation for one in group) and self._dice.commit_fails():
            error = StorageError("The simulated disk refused the write. Nothing was acknowledged.")
            for write in reversed(group):  # the newest first: a record may be in several
                for record, row in zip(write.records, write.before, strict=True):
                    if row:
                        record.load(row)
        else:
            self._disk.commit(group)
            if not self._synced and self._dice.syncs():
                self._disk.sync()
            if self._dice.crashes():  # before anybody hears of it
                self._die()
                return
        for write in group:
            try:
                write.done(error)
            except Exception as failure:  # noqa: BLE001 - the others have to hear of it
                said = {"message": "What follows a commit failed", "exception": failure}
                asyncio.get_running_loop().call_exception_handler(said)

    def _under_way(self) -> Iterator[Write]:
        yield from self._group
        yield from self._queue

    def in_flight(self, record: TaskRecord) -> bool:
        """Whether the record shows a transition that is not on disk yet."""
        return record.version > self._disk.seq

    def touch(self, record: TaskRecord) -> None:
        """Keep the progress, soon."""
        record.stored = record.row()
        self._hand_over(Write(_nobody, touched=record), urgent=False, now=False)

    async def flush(self) -> None:
        """Return when everything submitted so far was written or refused."""
        await self._alive()
        if self._queue or self._group:
            passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._hand_over(
                Write(lambda _: None if passed.done() else passed.set_result(None)),
                urgent=True,
                now=False,
            )
            await passed

    async def _operate(self, operation: Callable[[], object]) -> None:
        """Return once something is durable that is no transition; raise what went wrong."""
        await self._alive()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if written.done():
                return
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)

        self._hand_over(Write(done, operation=operation), urgent=True, now=False)
        if self._dice.crashes():
            self._die()
        await written

    # -- how far behind ---------------------------------------------------------

    @property
    def newest(self) -> int:
        """The number of the newest transition that was handed over."""
        return self._seq

    @property
    def full(self) -> bool:
        """Whether callers should wait; see the port."""
        return len(self._queue) > FULL

    @property
    def overfull(self) -> bool:
        """Whether nothing should be begun; see the port."""
        return len(self._queue) > OVERFULL

    async def room(self) -> None:
        """Wait until what waits now is written."""
        await self.flush()

    # -- what is no task ----------------------------------------------------

    async def save_rules(self, rules: Sequence[Rule]) -> None:
        """Make new and changed rules durable, all or none."""
        new = {(rule.kind, rule.name): rule for rule in rules}
        await self._operate(lambda: self._disk.rules.update(new))

    async def delete_rules(self, keys: Sequence[tuple[RuleKind, str]]) -> None:
        """Delete rules; those that there are not are no error."""
        rules = self._disk.rules
        await self._operate(lambda: [rules.pop(key, None) for key in keys])

    async def save_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Make new and changed schedules durable, all or none."""
        copies = {one.name: replace(one) for one in schedules}
        await self._operate(lambda: self._disk.schedules.update(copies))

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule; its tasks stay."""
        await self._operate(lambda: self._disk.schedules.pop(name, None))

    async def save_act(self, act: Act) -> None:
        """Make an act durable, new or changed."""
        await self._operate(lambda: self._disk.acts.update({act.number: act}))


def _nobody(error: BaseException | None) -> None:
    """Take the outcome of a write that nobody waits for."""
