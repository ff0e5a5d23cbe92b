"""A queue moves from a database of PostgreSQL to a file."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from pathlib import Path

from wopr.config.crashpoint import crashpoint
from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import new_identity
from wopr.domain.errors import StorageError
from wopr.domain.moving import MOVED, MOVING, Moving
from wopr.moving.handing import hand_back
from wopr.moving.moved import Moved, days_of
from wopr.storage import missing
from wopr.storage.duckdb.moving.filling import (
    FileFilling,
    arrived,
    check_place,
    examined,
    filled,
    placed,
    taken_back,
)
from wopr.storage.duckdb.moving.leaving import folder_of
from wopr.storage.duckdb.moving.reading import hour_of, near
from wopr.storage.duckdb.moving.shape import shape
from wopr.storage.moving.tables import TABLES, WHOLE, Sums, Tell, compare, differing
from wopr.storage.postgres.moving.filling import connect, told
from wopr.storage.postgres.moving.reading import ServerPage, ServerReader

FEW = 20_000
"""So many changes are few enough for the pause; more are copied before it."""
MOST_ROUNDS = 5
LOOK_SECONDS = 0.2


class ToFile:
    """One move.

    Args:
        address: where the queue is.
        database: the file.
        settings: of this process.
        grace: so many seconds what runs may take to end.
        tell: is told what is done.
    """

    def __init__(
        self, address: PostgresAddress, database: Path, settings: Settings, grace: float, tell: Tell
    ) -> None:
        self._address = address
        self._memory = settings.memory_limit
        self._grace = grace
        self._tell = tell
        self._folder = folder_of(database)
        self._database = Path(str(self._folder)[: -len(".moving")])
        self._compared = Sums()
        self._moving = Moving(
            new_identity().hex(), address.named, str(self._database), socket.gethostname()
        )

    async def run(self) -> Moved:
        """Move.

        Raises:
            StorageError: it could not be done; the queue is where it was, if nothing else is said.
        """
        try:
            return await asyncio.to_thread(self._run)
        finally:
            with contextlib.suppress(OSError):  # it holds what has been copied
                self._folder.rmdir()

    def _run(self) -> Moved:
        with (
            contextlib.closing(connect(self._address)) as connection,
            told(self._address),
        ):
            self._reader = ServerReader(connection, shape(), self._folder, self._tell)
            before = self._before()
            if before is not None:
                return self._finish(before, 0.0)
            taken_back(self._folder, self._database, self._moving, self._memory)
            check_place(self._database, self._moving.source, self._memory)
            self._copy()
            with self._reader.kept():
                self._settle()
                paused = time.monotonic()
                try:
                    self._leave()
                except BaseException:
                    with contextlib.suppress(Exception):
                        self._reader.stay()
                    raise
            crashpoint("move.marked")
            return self._finish(self._moving, paused)

    def _before(self) -> Moving | None:
        """Return the move that has ended but for the opening of the file, if one has."""
        if not self._reader.there():
            raise missing(self._address)
        meta = self._reader.meta()
        if MOVED not in meta:
            if MOVING in meta:  # a part of another home's queue
                raise Moving.read(meta[MOVING]).half()
            return None
        found = Moving.read(meta[MOVED])
        if (found.target, found.host) != (self._moving.target, self._moving.host):
            raise found.gone()
        return found

    # -- beside the work ----------------------------------------------------------

    def _copy(self) -> None:
        """Bring the file up to the tables until little is left."""
        with filled(self._folder, self._memory) as filling:
            self._moving = filling.begin(self._moving)
            broken_off = bool(filling.progress)
            self._fill(filling)
            for _ in range(MOST_ROUNDS):
                through, now = int(filling.progress["through"]), self._reader.seq()
                with self._reader.moment():  # so that a doctor finds all that belongs together
                    self._catch_up(filling, through, now)
                    if broken_off:  # another queue may be there since, or a backup
                        self._compare_all(filling)
                broken_off = False
                if now - through <= FEW:
                    break
            filling.settle(int(filling.progress["through"]))
        self._tell("Checking the file", 0, 0)
        examined(self._folder, self._memory)
        crashpoint("move.filled")

    def _fill(self, filling: FileFilling) -> None:
        """Take all that the tables have, from where it was broken off."""
        progress = filling.progress
        if "through" in progress:
            return
        if "since" not in progress:
            progress = {"since": self._reader.seq(), "table": TABLES[0], "after": None}
        since = progress["since"]
        for table in TABLES[TABLES.index(progress["table"]) :]:
            after = progress["after"] if table == progress["table"] else None
            done = 0
            for page in self._reader.pages(table, _until(table, since), after):
                at = {"since": since, "table": table, "after": page.last}
                with filling.step():
                    if table in WHOLE:
                        filling.empty(table)
                    self._take(filling, table, page)
                    filling.at(at)
                done += page.rows
                self._tell(f"Copying {table}", done, 0)
                crashpoint("move.page")
        with filling.step():
            filling.say_nul()
            filling.at({"through": since})

    def _compare_all(self, filling: FileFilling) -> None:
        for table in TABLES:
            self._tell(f"Comparing {table}", 0, 0)
            here = filling.reader.sums(table)
            compare(self._reader.sums(table), here)
            self._compared.add_all(here)

    def _take(
        self, filling: FileFilling, table: str, page: ServerPage, *, again: bool = False
    ) -> None:
        here = filling.take(table, page.path, page.longest, again=again)
        compare(page.sums, here)
        self._compared.add_all(here)

    def _settle(self) -> None:
        """Take what is new and find what is gone, once nothing is deleted any more.

        So the pause need not look through all that there is.
        """
        with filled(self._folder, self._memory) as filling:
            now = self._reader.seq()
            with self._reader.moment():
                self._catch_up(filling, int(filling.progress["through"]), now)
        self._reader.wait()

    # -- what has changed since -----------------------------------------------------

    def _catch_up(
        self, filling: FileFilling, through: int, now: int, *, settled: bool = False
    ) -> None:
        """Take what has changed behind a number, and what is gone; all of it or nothing.

        Args:
            filling: of the file.
            through: the number.
            now: that of the newest change.
            settled: nothing was deleted since.
        """
        self._tell("Copying what has changed", 0, 0)
        with filling.step():
            filling.delete("transitions", f"seq > {through}")
            changed = self._reader.changed(through)
            for table, where in (("transitions", f"seq > {through}"), ("tasks", changed)):
                for page in self._reader.pages(table, where):
                    self._take(filling, table, page)
            for table in WHOLE:
                filling.empty(table)
                for page in self._reader.pages(table):
                    self._take(filling, table, page)
            if settled:
                for page in self._reader.pages("task_logs", self._reader.late_lines()):
                    self._take(filling, "task_logs", page, again=True)
            else:
                self._forget(filling)
                self._lines(filling)
            filling.at({"through": now})
            crashpoint("move.round")

    def _forget(self, filling: FileFilling) -> None:
        """Delete what was deleted from the tables meanwhile."""
        for table in ("tasks", "transitions"):
            for place in differing(self._reader.counts(table), filling.reader.counts(table)):
                numbers = self._reader.numbers(table, near(place))
                filling.keep(table, near(place), numbers)
            if differing(self._reader.counts(table), filling.reader.counts(table)):
                raise StorageError(
                    f"Rows of {table} are missing in {self._folder}. The queue stays where it is. "
                    "Check both disks, delete that folder, then move it again."
                )

    def _lines(self, filling: FileFilling) -> None:
        """Take the log lines of the hours in which there are others."""
        there, here = self._reader.hours(), filling.reader.hours()
        for hour in sorted(there.keys() | here.keys()):
            if there.get(hour) == here.get(hour):
                continue
            of = hour_of("task_logs", hour)
            filling.delete("task_logs", of)
            for page in self._reader.pages("task_logs", of):
                self._take(filling, "task_logs", page)

    # -- the pause --------------------------------------------------------------------

    def _leave(self) -> None:
        """Leave once nothing runs, and nobody can change anything."""
        while True:
            self._wait_for_runs()
            if self._reader.leave(self._left):
                return

    def _left(self) -> bool:
        """Leave, unless a claim was under way; whether it did."""
        if self._reader.running():
            return False
        self._switch()
        return True

    def _wait_for_runs(self) -> None:
        """Return when nothing runs any more; what takes too long is put back in its queue."""
        until = time.monotonic() + self._grace
        while self._reader.running() and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        asyncio.run(hand_back(self._address))

    def _switch(self) -> None:
        """Take the rest while nobody changes anything, and leave for good."""
        crashpoint("move.taken")
        with filled(self._folder, self._memory) as filling:
            now = int(self._reader.last())
            self._catch_up(filling, int(filling.progress["through"]), now, settled=True)
            filling.settle(now)
        placed(self._folder, self._database)
        crashpoint("move.ready")
        self._reader.mark(self._moving)

    def _finish(self, moving: Moving, paused: float) -> Moved:
        """Open the new home; the old one says already that this is it."""
        arrived(self._database, moving, self._memory)
        seconds = time.monotonic() - paused if paused else 0.0
        rows = self._reader.rows()
        shutil.rmtree(self._folder, ignore_errors=True)
        return Moved(
            source=moving.source,
            target=moving.target,
            tasks=rows["tasks"],
            transitions=rows["transitions"],
            logs=rows["task_logs"],
            days=days_of(self._compared),
            paused_seconds=seconds,
        )


def _until(table: str, since: int) -> str:
    """Return the condition for the rows that were there at a number."""
    return f"seq <= {since}" if table in {"tasks", "transitions"} else "true"
