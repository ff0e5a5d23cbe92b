"""The tables of a simulated server: what is committed, who has locked what, who waits for whom.

As PostgreSQL does it at its usual isolation: a statement sees what is committed when it begins, and
what its own transaction has written; who wants a row that another transaction has written waits
until that ends, and looks again then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]
Key = Any

KEY_SHARE, NO_KEY, UPDATE = range(3)
"""How strongly a row is locked: ``for key share``, by an update, by ``for update`` or a delete."""


class BlockedError(Exception):
    """Another transaction is in the way."""

    def __init__(self, holder: Transaction) -> None:
        super().__init__()
        self.holder = holder


class Tables:
    """All rows by table and key, as far as they are committed."""

    def __init__(self) -> None:
        self.committed: dict[str, dict[Key, Row]] = defaultdict(dict)
        self.locks: dict[Key, dict[Transaction, int]] = defaultdict(dict)
        self.on_commit: list[Callable[[dict[str, dict[Key, Row | None]]], None]] = []
        self._numbers: dict[str, int] = defaultdict(int)

    def next(self, sequence: str) -> int:
        """Return the next number of a sequence; no transaction gives one back."""
        self._numbers[sequence] += 1
        return self._numbers[sequence]

    def last(self, sequence: str) -> int:
        """Return the last number of a sequence."""
        return self._numbers[sequence]


class Transaction:
    """One transaction: what it has written, and locked."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._written: dict[str, dict[Key, Row | None]] = defaultdict(dict)
        self._locked: set[Key] = set()
        self.waits_for: Transaction | None = None
        self.waiters: list[Callable[[], None]] = []
        """What is tried again once this has ended."""
        self.over = False

    # -- rows -------------------------------------------------------------------

    def get(self, table: str, key: Key) -> Row | None:
        """Return a row as this transaction sees it."""
        written = self._written.get(table)
        if written is not None and key in written:
            return written[key]
        return self.tables.committed[table].get(key)

    def all(self, table: str) -> Iterator[Row]:
        """Return the rows that this transaction sees."""
        written = self._written.get(table, {})
        for key, row in list(self.tables.committed[table].items()):
            if key not in written:
                yield row
        yield from [row for row in written.values() if row is not None]

    def put(self, table: str, key: Key, row: Row | None) -> None:
        """Write a row; ``None`` deletes it."""
        self._written[table][key] = row

    # -- locks ------------------------------------------------------------------

    def holder(self, key: Key, mode: int) -> Transaction | None:
        """Return who has locked something, other than this one and in its way."""
        for other, how in self.tables.locks.get(key, {}).items():
            shared = KEY_SHARE in {mode, how} and max(mode, how) < UPDATE
            if other is not self and not shared:
                return other
        return None

    def lock(self, mode: int, *keys: Key) -> None:
        """Lock something until the transaction ends.

        Raises:
            BlockedError: another one has. What was locked before it stays so.
        """
        for key in keys:
            other = self.holder(key, mode)
            if other is not None:
                raise BlockedError(other)
            held = self.tables.locks[key]
            held[self] = max(mode, held.get(self, mode))
            self._locked.add(key)

    def waits_in_a_circle(self, holder: Transaction) -> bool:
        """Whether who holds a lock waits, in the end, for this one."""
        one: Transaction | None = holder
        while one is not None:
            if one is self:
                return True
            one = one.waits_for
        return False

    # -- end --------------------------------------------------------------------

    def commit(self) -> None:
        """Make all of it seen by everybody."""
        for table, rows in self._written.items():
            committed = self.tables.committed[table]
            for key, row in rows.items():
                if row is None:
                    committed.pop(key, None)
                else:
                    committed[key] = row
        for told in self.tables.on_commit:
            told(self._written)
        self.end()

    def end(self) -> None:
        """Let go of what is locked; what was not committed is gone. Idempotent."""
        self.over = True
        self.waits_for = None
        for key in self._locked:
            held = self.tables.locks[key]
            held.pop(self, None)
            if not held:
                del self.tables.locks[key]
        self._locked.clear()
        self._written = defaultdict(dict)
        waiters, self.waiters = self.waiters, []
        for again in waiters:
            again()
