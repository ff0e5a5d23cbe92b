"""Open a database together with its journal: what was acknowledged is in the tables then.

Nothing is changed before everything that lies there was read and is understood: whose
journal it is, that no part of it is missing or damaged, and that it goes on where the
tables end. What does not fit is refused by name, never begun anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from wopr.domain.clock import Clock, new_identity
from wopr.domain.errors import StorageError, StorageFileError
from wopr.domain.moving import MOVED, MOVING, refuse
from wopr.domain.spoken import counted
from wopr.storage.duckdb import applied
from wopr.storage.duckdb.examination import Examination
from wopr.storage.duckdb.file.checkpoint import forget
from wopr.storage.duckdb.file.lock import Acknowledged, owned_error
from wopr.storage.duckdb.file.migrate import begin_log
from wopr.storage.duckdb.file.opening import OpenedDatabase, open_database
from wopr.storage.duckdb.file.repair import explain
from wopr.storage.duckdb.fold_rows import let_go
from wopr.storage.duckdb.journal import chain
from wopr.storage.duckdb.journal.chain import Chain, State
from wopr.storage.duckdb.journal.scan import Found, examine, segments
from wopr.storage.duckdb.journal.segment import Segment
from wopr.storage.duckdb.journal.segments import Segments
from wopr.storage.duckdb.replay import catch_up
from wopr.storage.duckdb.torn import keep_torn_end

log = logging.getLogger(__name__)

LARGEST = 2**62
BATCH_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Started:
    """An open database whose tables hold everything, and its journal, which is being written."""

    opened: OpenedDatabase
    segments: Segments
    identity: bytes
    seq: int
    synced: bool

    def check_in_place(self) -> None:
        """Check that the database file is where it was."""
        self.opened.check_in_place()

    def remember(self, position: int | None = None) -> None:
        """Note in a second place how far the database is acknowledged."""
        known = self.segments.position if position is None else position
        self.opened.lock.remember(Acknowledged(self.identity, known, self.synced))

    def settle(self) -> None:
        """Leave a complete database and no journal; the tables must hold everything.

        Raises:
            StorageError: DuckDB or the disk refuses: the journal is kept, and complete.

        """
        connection = self.opened.connection
        self.opened.verify_in_place()
        connection.execute("update meta set value = '' where key = 'journal'").fetchall()
        self.opened.checkpoint()
        self.synced = True  # the checkpoint is, whatever the groups were
        self.remember()
        self.segments.close(remove=True)
        self.opened.journaled = False
        forget(self.opened.path)

    def close(self) -> None:
        """Settle if that can be, and let go of everything. Idempotent."""
        try:
            if self.opened.journaled:
                self.settle()
        except (duckdb.Error, StorageError, OSError) as error:
            log.error(
                "%s could not be closed completely, so its journal stays beside it: %s. Nothing "
                "is lost: the next opening reads it. Copy or move the file only together with it.",
                self.opened.path,
                error,
            )
        self.abandon()

    def abandon(self) -> None:
        """Let go of everything as it is; the next opening reads the journal."""
        self.segments.close(remove=False)
        self.opened.close(checkpoint=False)


def start(
    path: str | os.PathLike[str],
    *,
    memory_limit: str = "200MB",
    create: bool = True,
    clock: Clock | None = None,
    synced: bool = True,
    archive: Path | None = None,
) -> Started:
    """Open a database, bring it up to its journal, and begin a new segment.

    Raises:
        StorageOwnedError: Another process has it open.
        SchemaError: It is of a newer wopr, or not a wopr file. It is untouched.
        StorageFileError: It can't be used; the message says why and what to do.

    """
    return _open(
        path,
        memory_limit,
        clock,
        lambda left: left.begin(synced=synced),
        create=create,
        coming=True,
        archive=archive,
    )


def open_settled(
    path: str | os.PathLike[str],
    *,
    memory_limit: str = "200MB",
    clock: Clock | None = None,
    reach: Path | None = None,
    coming: bool = False,
) -> OpenedDatabase:
    """Open a database that exists, for tools: complete, without a journal from then on.

    Its connection can write into ``reach``, too; while it is ``coming``, others wait for it.

    Raises:
        StorageOwnedError: Another process has it open.
        SchemaError: It is of a newer wopr, or not a wopr file. It is untouched.
        StorageFileError: It can't be used; the message says why and what to do.

    """
    return _open(
        path,
        memory_limit,
        clock,
        lambda left: left.settle(),
        create=False,
        coming=coming,
        archive=reach,
    )


T = TypeVar("T")


def _open(
    path: str | os.PathLike[str],
    memory_limit: str,
    clock: Clock | None,
    then: Callable[[Left], T],
    *,
    create: bool,
    coming: bool = False,
    archive: Path | None = None,
) -> T:
    left = Left(archive=archive)
    try:
        opened = open_database(
            path,
            memory_limit=memory_limit,
            create=create,
            clock=clock,
            before=left.look,
            in_order=_in_order,
            coming=coming,
        )
        try:
            left.recover(opened)
            return then(left)
        except duckdb.Error as error:
            opened.close(checkpoint=False)
            raise explain(opened.path, error) from error
        except OSError as error:
            opened.close(checkpoint=False)
            raise StorageFileError(
                f"{opened.path} can't be opened, because its journal beside it can't be read or "
                f"written: {error}. Nothing acknowledged is lost. Check the disk and its free "
                f"space, then start again."
            ) from error
        except BaseException:
            opened.close(checkpoint=False)
            raise
    except BaseException:
        left.let_go()
        raise


def _in_order(copy: Path) -> bool:
    """Whether a copy of a file that was mended holds what a doctor wants to see."""
    opened = open_database(copy, create=False)
    try:
        state_of(opened)
        return Examination(opened).run().clean
    finally:
        opened.close()


class Left:
    """What an earlier process left beside the database, and what becomes of it."""

    def __init__(self, *, accept: bool = False, archive: Path | None = None) -> None:
        self._reach = () if archive is None else (archive,)
        self.accept = accept
        self.found: list[Found] = []
        self.adopted: list[Segment] = []
        self.opened: OpenedDatabase
        self.state: State
        self.plan: Chain
        self.seq = 0

    def look(self, opened: OpenedDatabase) -> None:
        """Read the segments, and keep a hold on each so that nobody else does."""
        opened.reach = self._reach
        for path in segments(opened.path):
            try:
                one = examine(path)
            except StorageFileError:
                if not self.accept:
                    raise
                continue  # can't be read, so it can't be replayed
            try:
                self.adopted.append(Segment.adopt(one))
            except BlockingIOError as error:
                who = "another process, which writes to its journal"
                raise owned_error(opened.path, who, None) from error
            self.found.append(one)
        opened.journaled = any(one.header is not None for one in self.found)

    def recover(self, opened: OpenedDatabase) -> None:
        """Bring the tables up to the journal, if it is understood."""
        self.opened = opened
        try:
            self.state, self.seq = state_of(opened)
            self.plan = chain.plan(opened.path, self.state, self.found, accept=self.accept)
        except StorageError:  # nothing was written but the checkpoint of the opening, to its end
            opened.disconnect()
            if opened.lock.made:
                forget(opened.path)
            opened.lock.withdraw()
            raise
        if self.plan.torn is not None and not self.accept:
            keep_torn_end(opened.path, *self.plan.torn)
        if not self.state.synced:
            log.warning(
                "The journal of %s was written with WOPR_TASKS_SYNC=process. If the machine died, "
                "what was acknowledged behind record %d is missing.",
                opened.path,
                self.plan.last,
            )
        count = _replay(opened.connection, self.plan)
        if count:
            _, self.seq = applied.position(opened.connection)
            said = counted(count, "change")
            log.warning("Replayed %s from the journal of %s.", said, opened.path)

    def settle(self) -> OpenedDatabase:
        """Leave a complete database and no journal."""
        opened = self.opened
        if self.state.generation:
            opened.connection.execute("update meta set value = '' where key = 'journal'").fetchall()
        opened.checkpoint()
        if self.found or self.state.generation:
            known = Acknowledged(self.state.database, self.plan.last, synced=True)
            opened.lock.remember(known)
            for segment in self.adopted:
                segment.remove()
            opened.journaled = False
        forget(opened.path)
        return opened

    def begin(self, *, synced: bool) -> Started:
        """Begin a new segment behind those that may still be needed.

        Raises:
            QueueMovedError: the queue of this file is elsewhere.
            StorageError: it is half moved here.
        """
        refuse(self.state.moving)
        opened, generation = self.opened, self.state.generation
        journal = self._journal(generation, synced=synced)
        try:
            journal.begin()
            opened.connection.execute(
                "update meta set value = ? where key = 'journal'", [str(journal.generation)]
            ).fetchall()
            opened.checkpoint()
        except BaseException:
            journal.close(remove=False)
            raise
        opened.journaled = True
        started = Started(opened, journal, self.state.database, self.seq, synced)
        started.remember()
        return started

    def _journal(self, generation: int, *, synced: bool) -> Segments:
        needed = {one.path for one, _ in self.plan.needed}
        used: list[Segment] = []
        for segment, one in zip(self.adopted, self.found, strict=True):
            if one.header is None:
                segment.remove()  # prepared, and never begun
            else:
                used.append(segment)
                generation = max(generation, one.header.generation)
        used.sort(key=lambda segment: segment.header.generation)
        return Segments(
            self.opened.path,
            self.state.database,
            [one for one in used if one.path in needed],
            [one for one in used if one.path not in needed],
            generation,
            self.plan.last,
            synced=synced,
        )

    def let_go(self) -> None:
        """Close the segments as they are."""
        for segment in self.adopted:
            segment.close()


def state_of(opened: OpenedDatabase) -> tuple[State, int]:
    """Return what the database says about its journal; a file of an older wopr learns it now."""
    connection = opened.connection
    rows = dict(connection.execute("select key, value from meta").fetchall())
    if "database" not in rows:
        begin_log(connection)
        seq = catch_up(connection)
        rows = {"database": new_identity().hex(), "applied": "0", "seq": str(seq), "journal": ""}
        connection.execute("begin")
        connection.execute("delete from meta where key = 'folded'").fetchall()
        for key, value in rows.items():
            connection.execute("insert into meta (key, value) values (?, ?)", [key, value])
        connection.execute("commit")
    try:
        database = bytes.fromhex(rows["database"])
        position, generation = _number(rows["applied"]), _number(rows["journal"] or "0")
        [(newest,)] = connection.execute("select coalesce(max(seq), 0) from transitions").fetchall()
        highest = rows.get("seq", "")
        seq = max(_number(highest) if highest.isdecimal() else 0, _number(newest))
    except (KeyError, ValueError) as error:
        raise StorageFileError(
            f"The table meta of {opened.path} does not say any more where its journal stands "
            f"({error!r}): somebody changed it. Restore a backup, with its journal."
        ) from error
    known = opened.lock.remembered()
    noted = known if known is not None and known.database == database else None
    return State(
        database,
        position,
        generation,
        noted.position if noted is not None else 0,
        synced=known is None or known.synced,
        moving={key: rows[key] for key in (MOVED, MOVING) if key in rows},
    ), seq


def _number(stored: str | int) -> int:
    """Return a number that others can follow: each is noted as one of 64 bits."""
    number = int(stored)
    if number > LARGEST:
        raise ValueError(f"{number} is beyond all that were ever given")
    return number


def _replay(connection: duckdb.DuckDBPyConnection, plan: Chain) -> int:
    """Bring the tables up to the journal; return how many records they lacked."""
    position = plan.position
    batch: list[applied.Piece] = []
    size = 0
    for group in plan.groups():
        for whole in applied.pieces(group):
            piece = applied.behind(whole, position)
            if piece is None:
                continue
            batch.append(piece)
            size += len(piece.content)
            if size >= BATCH_BYTES:
                applied.apply(connection, applied.joined(batch))
                batch, size = [], 0
    if batch:
        applied.apply(connection, applied.joined(batch))
    let_go(connection)
    return plan.last - position
