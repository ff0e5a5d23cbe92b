"""What is durable in the journal and not in the tables yet."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wopr.domain.errors import StorageError
from wopr.storage.duckdb.applied import Piece, behind, joined, pieces, record_count, up_to
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.write import Row, Write


@dataclass(slots=True)
class _Waiting:
    """One piece, and the task rows that are in the tables once it is."""

    piece: Piece
    rows: list[Row] = field(default_factory=list)


class Pending:
    """Filled by who writes the journal, emptied by the thread that folds.

    The rows of tasks can be looked up by anybody meanwhile: :meth:`row`.
    """

    def __init__(self, position: int, seq: int) -> None:
        self.position = position
        """Of the last record that the tables hold."""
        self.since = 0.0
        """When the oldest of it came, or later."""
        self.told = position
        """Of the last record that is no transition: such as that of an act."""
        self.touched: dict[str, Row] = {}
        """Tasks whose progress is to be stored, when nothing else is left."""
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._incoming: list[tuple[Group, list[Row]]] = []
        self._rows: dict[str, Row] = {}
        self.seq = seq
        """The highest number of a transition that is durable."""
        # Each is counted by one side only: "+=" of two threads on one number loses some.
        self._rows_in = self.rows_out = self._bytes_in = self.bytes_out = 0

    @property
    def rows(self) -> int:
        """How many records wait."""
        return self._rows_in - self.rows_out

    @property
    def last(self) -> int:
        """Position of the last record that waits, or that the tables hold if none does."""
        return self.position + self.rows

    @property
    def bytes(self) -> int:
        """How many bytes they take."""
        return self._bytes_in - self.bytes_out

    def row(self, task_id: str) -> Row | None:
        """Return the newest row of a task of which something waits."""
        return self._rows.get(task_id)

    def add(self, writes: Sequence[Write], group: Group | None) -> None:
        """Take a group that is durable, and the writes that it is made of."""
        rows: list[Row] = []
        with self._lock:
            for write in writes:
                if not write.count:
                    self.touched.update((row[0], row) for row in write.rows)
                    continue
                for row in write.rows:
                    self._rows[row[0]] = row
                    if self.touched:
                        self.touched.pop(row[0], None)
                rows += write.rows
                if write.seq:
                    self.seq = write.seq
            if group is None:
                return
            if not self.rows:
                self.since = time.monotonic()
            if group.operations:
                self.told = group.last
            self._incoming.append((group, rows))
            self._rows_in += group.count
            self._bytes_in += len(group.content) + 1

    def _cut_incoming(self) -> None:
        """Cut into pieces what came; not by who hands it over, which may be the event loop."""
        for group, rows in self._incoming:
            waiting = [_Waiting(piece) for piece in pieces(group)]
            waiting[-1].rows = rows
            self._waiting.extend(waiting)
        self._incoming.clear()

    def next(self, rows: int, size: int) -> tuple[list[Piece], int]:
        """Return what is next, about so much of it, and how many pieces of it to take out then.

        Neighbours are joined: a statement costs more than its rows.
        """
        with self._lock:
            self._cut_incoming()
            chosen: list[Piece] = []
            last = self.position
            for waiting in self._waiting:
                chosen.append(waiting.piece)
                size -= len(waiting.piece.content)
                rows -= waiting.piece.last - last
                last = waiting.piece.last
                if size <= 0 or rows <= 0:
                    break
        return joined(chosen), len(chosen)

    def applied(self, count: int) -> None:
        """Take so many pieces out: the tables hold them."""
        with self._lock:
            for _ in range(count):
                self._drop(self._waiting.popleft())
            self.since = time.monotonic()

    def _drop(self, waiting: _Waiting) -> None:
        self.rows_out += waiting.piece.last - self.position
        self.bytes_out += _size(waiting.piece)
        self.position = waiting.piece.last
        for row in waiting.rows:
            if self._rows.get(row[0]) is row:
                del self._rows[row[0]]

    def take_touched(self) -> list[Row]:
        """Return the tasks whose progress can be stored, and forget them.

        Not yet those of which something waits: the tables don't hold what it is progress of.
        """
        with self._lock:
            ready = [row for row in self.touched.values() if row[0] not in self._rows]
            for row in ready:
                del self.touched[row[0]]
            return ready

    def restart(self, position: int, reread: Callable[[int], Iterable[Group]]) -> None:
        """Go on behind ``position``, which is where the tables are after an error.

        What is not in memory any more is read from the journal.
        """
        with self._lock:
            self._cut_incoming()
            while self._waiting and self._waiting[0].piece.last <= position:
                self._drop(self._waiting.popleft())
            known = self.position
            if position < known:
                lacking = [*_between(reread(position), position, known)]
                if sum(map(record_count, lacking)) < known - position:
                    raise StorageError(
                        f"The tables lost the records {position + 1} to {known} of the journal, "
                        "and it does not have all of them any more. Restore a backup."
                    )
                self.bytes_out -= sum(map(_size, lacking))
                self._waiting.extendleft(_Waiting(piece) for piece in reversed(lacking))
            elif self._waiting and (rest := behind(self._waiting[0].piece, position)) is not None:
                self.bytes_out += _size(self._waiting[0].piece) - _size(rest)
                self._waiting[0].piece = rest
            self.position = position
            self.rows_out += position - known

    def groups(self) -> list[Group]:
        """Return what waits as groups of the journal."""
        with self._lock:
            self._cut_incoming()
            return [_group(one.piece) for one in self._waiting]


def _group(piece: Piece) -> Group:
    count = record_count(piece)
    return Group(piece.last - count + 1, count, piece.content, piece.operation)


def _size(piece: Piece) -> int:
    """Return how many bytes its records take, each with its line's end."""
    return len(piece.content) + 1


def _between(groups: Iterable[Group], after: int, last: int) -> Iterator[Piece]:
    """Give the records behind one position, up to another."""
    for group in groups:
        for whole in pieces(group):
            piece = behind(whole, after)
            if piece is not None and (piece := up_to(piece, last)) is not None:
                yield piece
