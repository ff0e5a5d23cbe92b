"""All segments of one database: where the next group goes, and which may be forgotten.

One thread at a time writes; spare space is made, and old segments are forgotten, by others.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from wopr.domain.clock import salt
from wopr.storage.duckdb import disk
from wopr.storage.duckdb.journal.format import GROUP_SIZE, START, Group, Header, unpack_group
from wopr.storage.duckdb.journal.scan import SUFFIX
from wopr.storage.duckdb.journal.segment import Segment

log = logging.getLogger(__name__)

FIRST_BYTES = 256 * 1024
SEGMENT_BYTES = 16 * 1024 * 1024
"""The size of a segment that follows others: each is twice as large as the one before, up to
this. The first one is small, because most queues of a test or a script never fill it."""


class Segments:
    """The journal on disk, as the process that owns the database writes it.

    Args:
        database: the path of the database file.
        identity: whose journal it is: 16 bytes that stand in the database too.
        earlier: segments of earlier processes that this one goes on from, in order.
        retained: those before them, kept until the next checkpoint.
        generation: the highest that was ever used.
        position: of the last record that was acknowledged before.
        synced: whether each group has to be on disk before the call returns.
    """

    def __init__(
        self,
        database: Path,
        identity: bytes,
        earlier: Iterable[Segment],
        retained: Iterable[Segment],
        generation: int,
        position: int,
        *,
        synced: bool,
    ) -> None:
        self.position = position
        """Of the last record that is acknowledged."""
        self.lacking: Callable[[], Sequence[Group]] | None = None
        """What the database does not have yet, from memory: used when it can't be read here."""
        self._database = database
        self._identity = identity
        self._generation = generation
        self._synced = synced
        self._lock = threading.Lock()  # for what follows up to `_preparing`
        self._ended = list(earlier)
        self._retained = list(retained)
        self._active: Segment | None = None
        self._forgotten = position
        self._spare: Segment | None = None
        self._preparing: threading.Thread | None = None
        self._number = max((_number(one.path) for one in self._held()), default=0)
        self._size = FIRST_BYTES
        self._broken = False

    @property
    def generation(self) -> int:
        """The highest that was used."""
        return self._generation

    @property
    def size(self) -> int:
        """How many bytes the records take that were not forgotten yet."""
        with self._lock:
            return sum(one.end for one in self._all())

    def _all(self) -> list[Segment]:
        return self._ended if self._active is None else [*self._ended, self._active]

    def _held(self) -> list[Segment]:
        return [*self._retained, *self._all()]

    # -- writing --------------------------------------------------------------

    def begin(self) -> None:
        """Begin a segment, so that the first record finds one.

        Raises:
            OSError: There is no room for it.
        """
        self._rotate(0)

    def fits(self, length: int) -> bool:
        """Whether a group of so many bytes can be written without making space first."""
        segment, length = self._active, length + GROUP_SIZE
        if segment is None or self._broken:
            return False
        spare = self._spare
        return segment.fits(length) or (spare is not None and spare.size >= length + START)

    def append(self, group: Group) -> None:
        """Make a group durable. Its first position is the one behind :attr:`position`.

        Raises:
            OSError: It failed, and the group will not be read again.
        """
        if self._broken:
            self.rescue()
        length = GROUP_SIZE + len(group.content)
        segment = self._active
        if segment is None or not segment.fits(length):
            segment = self._rotate(length)
        try:
            segment.append(group, synced=self._synced)
        except OSError:
            self._broken = True
            segment.retract(self.position)
            raise
        self.position = group.last

    def withdraw(self, group: Group) -> None:
        """Take the last group back, which must not be acknowledged: its file is gone, say."""
        self._broken = True
        self.position = group.first - 1
        if self._active is not None:
            self._active.retract(self.position)

    def trouble(self) -> str | None:
        """Say what somebody did to the segment that is written to; ``None`` if it is in place."""
        return None if self._active is None else self._active.trouble()

    def all_in_place(self) -> bool:
        """Whether every segment that may be needed is where it was."""
        with self._lock:
            return all(one.trouble() is None for one in self._all())

    def _rotate(self, length: int) -> Segment:
        """Begin the next segment; the one before ends where its last group does."""
        fresh = self._take(length)
        before = self._active or (self._ended[-1] if self._ended else None)
        try:
            fresh.begin(self._header(self.position + 1, before))
        except OSError:
            self._broken = True  # it may be on disk all the same, and say where the last one ends
            fresh.remove()
            raise
        with self._lock:
            if self._active is not None:
                self._ended.append(self._active)
            self._active = fresh
        if len(self._ended):
            self._prepare_spare()
        return fresh

    def _header(self, first: int, before: Segment | None) -> Header:
        self._generation += 1
        previous = (0, 0, 0)
        if before is not None:
            previous = (before.header.generation, before.end, before.last)
        return Header(self._identity, self._generation, salt(), first, *previous)

    # -- space ----------------------------------------------------------------

    def _take(self, length: int) -> Segment:
        """Return space for the next segment: what was prepared, or else made now."""
        needed = START + length
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.size >= needed and spare.trouble() is None:
            return spare
        if spare is not None:
            spare.remove()
        return self._prepare(max(self._size, needed))

    def _prepare(self, size: int) -> Segment:
        while True:
            with self._lock:
                self._number += 1
                name = f"{self._database.name}{SUFFIX}{self._number}"
            with contextlib.suppress(FileExistsError):
                return Segment.prepare(self._database.with_name(name), size)

    def _prepare_spare(self) -> None:
        """Have a thread make the space of the next segment, while this one is filled."""
        with self._lock:
            self._size = min(2 * self._size, SEGMENT_BYTES)
            if self._spare is None and self._preparing is None:
                thread = threading.Thread(target=self._prepared, name="wopr-space")
                with contextlib.suppress(RuntimeError):  # none can be had: it is made when needed
                    thread.start()
                    self._preparing = thread

    def _prepared(self) -> None:
        segment: Segment | None = None
        try:
            segment = self._prepare(self._size)
        except OSError as error:
            log.warning(
                "No space can be made for the next segment of the journal of %s: %s. It is tried "
                "again when this one is full; if it fails then, nothing is accepted any more. "
                "Free some disk space.",
                self._database,
                error,
            )
        with self._lock:
            self._preparing = None
            self._spare, left = (segment, None) if self._spare is None else (self._spare, segment)
        if left is not None:
            left.remove()

    def read(self, after: int) -> Iterator[Group]:
        """Give the groups that have records behind a position; for any thread."""
        with self._lock:
            segments = self._all()
        last = after
        for segment in segments:
            for group in _groups(segment, last):
                yield group
                last = group.last

    # -- trouble --------------------------------------------------------------

    def rescue(self) -> None:
        """Go on in a new segment that holds all that the database may not have yet.

        After a failed sync nobody knows which of the pages before are on disk; and a file
        that was deleted is there only for who has it open. So all that counts is read once
        more, by its checksums, and written anew. The header comes last: until then the new
        file does not count.

        Raises:
            OSError: There is no room for it, or what was acknowledged can't be read any more.
                Calling again is allowed, and helps once the database has it.
        """
        with self._lock:
            old = self._all()
        groups = self._needed(old)
        first = groups[0].first if groups else self.position + 1
        fresh = self._prepare(
            max(self._size, START + sum(GROUP_SIZE + len(one.content) for one in groups))
        )
        try:
            fresh.begin(self._header(first, None), groups)
        except OSError:
            fresh.remove()
            raise
        with self._lock:
            self._ended, self._active, self._broken = [], fresh, False
        for one in old:
            one.remove()
        log.error(
            "A segment of the journal of %s was lost or could not be synced. The %d groups that "
            "it may have held alone were written to %s. Check the disk, and that nothing deletes "
            "files of the queue.",
            self._database,
            len(groups),
            fresh.path,
        )

    def _needed(self, segments: Sequence[Segment]) -> Sequence[Group]:
        """Return all groups that the database may not have: read, or else from memory."""
        groups: list[Group] = []
        for one in segments:
            if one.last > self._forgotten:
                with contextlib.suppress(OSError):  # then memory has to do
                    groups.extend(_groups(one, self._forgotten))
        groups = [group for group in groups if group.last <= self.position]
        last = _unbroken(groups, self._forgotten)
        if last >= self.position:
            return groups
        if self.lacking is not None:
            groups = [*self.lacking()]
            if not groups or groups[-1].last == self.position:
                log.error(
                    "The journal of %s can't be read behind record %d. What the tables lack of "
                    "it was still in memory.",
                    self._database,
                    last,
                )
                return groups
        raise OSError(f"the journal can't be read behind position {last}")

    # -- the end --------------------------------------------------------------

    def forget(self, position: int) -> None:
        """Let go of segments whose records are all at or before a position.

        The caller knows that two verified checkpoints of the database hold those.
        """
        with self._lock:
            self._forgotten = max(self._forgotten, position)
            old = [*self._retained, *(one for one in self._ended if one.last <= self._forgotten)]
            self._retained = []
            self._ended = [one for one in self._ended if one.last > self._forgotten]
            for one in old:
                if self._spare is None and one.size >= self._size and one.trouble() is None:
                    self._spare = one
                    continue
                one.remove()

    def close(self, *, remove: bool) -> None:
        """Let go of all files; delete them too if the database has everything."""
        preparing = self._preparing
        if preparing is not None:
            preparing.join()
        spare = [] if self._spare is None else [self._spare]
        for one in spare:
            one.remove()
        for one in self._held():
            if remove:
                one.remove()
            else:
                one.close()
        self._ended, self._retained, self._active, self._spare = [], [], None, None
        if remove:
            with contextlib.suppress(OSError):
                disk.sync_directory(self._database.parent)


def _number(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


def _unbroken(groups: Sequence[Group], position: int) -> int:
    """Return up to which position groups go on from one without a gap."""
    for group in groups:
        if group.first > position + 1:
            break
        position = group.last
    return position


def _groups(segment: Segment, after: int) -> Iterator[Group]:
    """Read the groups of a segment that have records behind a position."""
    content = memoryview(segment.content())
    at = START
    while (found := unpack_group(segment.header, content, at)) is not None:
        group, _, _, at = found
        if group.last > after:
            yield group
