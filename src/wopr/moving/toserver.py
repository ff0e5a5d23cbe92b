"""A queue moves from its file to a database of PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from wopr.config.crashpoint import crashpoint
from wopr.config.settings import Settings
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import new_identity
from wopr.domain.errors import StorageError
from wopr.domain.moving import Moving
from wopr.moving.moved import Moved, days_of
from wopr.moving.taking import copied, taken
from wopr.storage.duckdb.moving.leaving import Leaving, copy_in, folder_of, looked_into, moved_from
from wopr.storage.duckdb.moving.reading import FileReader, hour_of, near
from wopr.storage.duckdb.moving.shape import shape
from wopr.storage.moving.tables import (
    NUMBER_BITS,
    TABLES,
    WHOLE,
    Sums,
    Tell,
    compare,
    differing,
)
from wopr.storage.postgres import schema
from wopr.storage.postgres.connections import CONNECT_SECONDS, Connections
from wopr.storage.postgres.doctor import check
from wopr.storage.postgres.moving.filling import Filling, connect, set_aside, told

FEW = 20_000
"""So many changes are few enough for the pause; more are copied before it."""
MOST_ROUNDS = 5


class ToServer:
    """One move.

    Args:
        database: the file.
        address: where the queue is to be.
        settings: of this process.
        grace: so many seconds what runs may take to end.
        tell: is told what is done.
    """

    def __init__(
        self, database: Path, address: PostgresAddress, settings: Settings, grace: float, tell: Tell
    ) -> None:
        self._database = database
        self._address = address
        self._settings = settings
        self._grace = grace
        self._tell = tell
        self._folder = folder_of(database)
        self._compared = Sums()
        self._counted: dict[str, dict[int, int]] = {}
        """How many rows have arrived, by table and place, once it is as many as have left: nobody
        else changes them. So the pause looks at what is new, and not through all that there is."""
        self._hours: dict[Any, int] | None = None
        """The same of log lines, by hour."""
        self._broken_off = False
        """Whether what has arrived may be of another file, as after a backup was restored."""
        self._moving = Moving(
            new_identity().hex(),
            str(self._folder)[: -len(".moving")],
            address.named,
            socket.gethostname(),
        )

    async def run(self) -> Moved:
        """Move.

        Raises:
            StorageError: it could not be done; the queue is where it was, if nothing else is said.
        """
        try:
            return await self._run()
        finally:
            with contextlib.suppress(OSError):  # it holds what has been copied
                self._folder.rmdir()

    async def _run(self) -> Moved:
        before = await asyncio.to_thread(moved_from, self._database, self._settings.memory_limit)
        await self._prepare(before)
        with contextlib.closing(await asyncio.to_thread(connect, self._address)) as connection:
            self._filling = Filling(connection, shape())
            if before is not None:
                return await asyncio.to_thread(self._finish, before, 0.0)
            self._moving = await self._told(self._filling.begin, self._moving)
            await self._copy()
            paused = time.monotonic()
            leaving = await taken(self._database, self._settings, self._grace)
            try:
                await self._told(self._switch, leaving)
            finally:
                await asyncio.to_thread(leaving.close)
            return await asyncio.to_thread(self._finish, self._moving, paused)

    async def _told(self, do: Any, *args: Any) -> Any:
        def work() -> Any:
            with told(self._address):
                return do(*args)

        return await asyncio.to_thread(work)

    async def _prepare(self, before: Moving | None) -> None:
        """Have the tables on the server."""
        if before is not None:
            if before.target != self._address.named:
                raise before.gone()
            return
        await asyncio.to_thread(set_aside, self._address, self._moving)
        await schema.prepare(Connections(self._address, 1, CONNECT_SECONDS))

    # -- beside the work ----------------------------------------------------------

    async def _copy(self) -> None:
        """Bring the tables up to the file until little is left."""
        copy = copy_in(self._folder)
        self._broken_off = bool(self._filling.progress)
        if "through" in self._filling.progress:
            copy.unlink(missing_ok=True)
        for _ in range(MOST_ROUNDS):
            progress = self._filling.progress
            if "copy" not in progress or not copy.exists():
                self._tell("Copying the file", 0, 0)
                first = "through" not in progress  # of those after it only what is new is read
                await copied(self._database, copy, self._settings, verify=first)
                crashpoint("move.copied")
            through = progress.get("through")
            left: int = await self._told(self._take_over, copy)
            if through is not None and left <= FEW:
                return

    def _take_over(self, copy: Path) -> int:
        """Bring the tables up to a copy of the file; return how many changes that were."""
        with looked_into(copy, self._settings.memory_limit) as reader:
            through = self._filling.progress.get("through")
            if through is None:
                self._fill(reader)
            else:
                self._filling.index_lines()
                self._catch_up(reader, int(through))
                if self._broken_off:
                    self._compare_all(reader)
                    self._broken_off = False
            seq = reader.seq
        copy.unlink()
        return seq if through is None else seq - int(through)

    def _fill(self, reader: FileReader) -> None:
        """Take all that a copy has, from where it was broken off."""
        name = f"{reader.identity} {reader.seq}"
        progress = self._filling.progress
        if progress.get("copy") != name:
            self._filling.clear(name)
            progress = self._filling.progress
        for table in TABLES[TABLES.index(progress["table"]) :]:
            begin = progress["next"] if table == progress["table"] else 0
            end = reader.end(table)
            for page in reader.pages(table, begin=begin):
                at = {"copy": name, "table": table, "next": page.next}
                self._filling.take(table, page.path, at)
                self._tell(f"Copying {table}", min(page.next, end), end)
                crashpoint("move.page")
        self._tell("Making indexes", 0, 0)
        self._filling.index()
        self._compare_all(reader)
        self._filling.connect_tasks()
        self._filling.settle(reader.seq)
        self._tell("Checking the tables", 0, 0)
        self._refuse_problems()
        crashpoint("move.filled")
        self._filling.through(reader.seq)

    def _refuse_problems(self) -> None:
        report, _ = check(self._address)
        if report.problems:
            raise StorageError(
                "What arrived is not in order, so the queue stays where it is. The first problem "
                f"of {len(report.problems) + report.unlisted:,}: {report.problems[0]}"
            )

    def _compare_all(self, reader: FileReader) -> None:
        for table in TABLES:
            self._tell(f"Comparing {table}", 0, 0)
            self._compare(reader.sums(table), self._filling.sums(table))

    def _compare(self, there: Sums, here: Sums) -> None:
        compare(there, here)
        self._compared.add_all(here)

    # -- what has changed since -----------------------------------------------------

    def _catch_up(self, reader: FileReader, through: int) -> None:
        """Take what has changed behind a number, and what is gone; all of it or nothing."""
        with self._filling.round():
            self._tell("Copying what has changed", 0, 0)
            new = f"seq > {through}"
            for page in reader.pages("transitions", new):
                self._filling.append("transitions", page.path)
            changed = f"(version > {through} or status = 'started')"
            for page in reader.pages("tasks", changed):
                self._filling.stage(page.path)
            self._filling.replace()
            for table in WHOLE:
                self._filling.empty(table)
                for page in reader.pages(table):
                    self._filling.append(table, page.path)
            self._forget(reader, through)
            self._lines(reader)
            self._tell("Comparing what has changed", 0, 0)
            self._compare(reader.sums("tasks", changed), self._filling.staged())
            here = self._filling.sums("transitions", new)
            self._compare(reader.sums("transitions", new), here)
            for table in WHOLE:
                compare(reader.sums(table), self._filling.sums(table))
            self._filling.connect_tasks()
            self._filling.through(reader.seq)
            crashpoint("move.round")

    def _forget(self, reader: FileReader, through: int) -> None:
        """Delete what was deleted from the file meanwhile."""
        for table in ("tasks", "transitions"):
            there, here = reader.counts(table), self._arrived(table, through)
            for place in differing(there, here):
                self._filling.keep(table, near(place), reader.numbers(table, place))
                here.pop(place, None)
                here |= self._filling.counts(table, near(place))
            if differing(there, here):
                raise StorageError(
                    f"Rows of {table} are missing at {self._moving.target}. The queue stays "
                    "where it is. Check both disks, then move it again, to an empty database."
                )
            self._counted[table] = here

    def _arrived(self, table: str, through: int) -> dict[int, int]:
        """Return how many rows have arrived, by place."""
        known = self._counted.get(table)
        if known is None:
            return self._filling.counts(table)
        first = through >> NUMBER_BITS
        new = self._filling.counts(table, f"seq >= {first << NUMBER_BITS}")
        return {place: count for place, count in known.items() if place < first} | new

    def _lines(self, reader: FileReader) -> None:
        """Take the log lines of the hours in which there are others."""
        there = reader.hours()
        here = self._filling.hours() if self._hours is None else self._hours
        for hour in sorted(there.keys() | here.keys()):
            if there.get(hour) == here.get(hour):
                continue
            of = hour_of("task_logs", hour)
            self._filling.forget_lines(of)
            for page in reader.pages("task_logs", of):
                self._filling.append("task_logs", page.path)
            compare(reader.sums("task_logs", of), self._filling.sums("task_logs", of))
        self._hours = there

    # -- the pause --------------------------------------------------------------------

    def _switch(self, leaving: Leaving) -> None:
        """Take the rest of a file that nobody else has, and leave it for good."""
        crashpoint("move.taken")
        reader = leaving.reader
        self._catch_up(reader, int(self._filling.progress["through"]))
        self._filling.settle(reader.seq)
        self._filling.ready()
        crashpoint("move.ready")
        leaving.mark(self._moving)
        crashpoint("move.marked")

    def _finish(self, moving: Moving, paused: float) -> Moved:
        """Open the new home; the old one says already that this is it."""
        with told(self._address):
            self._filling.open_up(moving)
            seconds = time.monotonic() - paused if paused else 0.0
            rows = self._filling.rows()
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
