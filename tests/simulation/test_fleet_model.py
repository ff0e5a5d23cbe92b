"""The simulated server does what a real one does: both carry out the same, and are compared."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from simulation.fleet.asked import Now
from simulation.fleet.tables import Transaction
from simulation.fleet.verbs import VERBS
from simulation.fleet.world import Storm, World
from support.postgres import need_server, new_database
from wopr.domain import decide
from wopr.domain.address import PostgresAddress
from wopr.domain.clock import IdFactory
from wopr.domain.outcome import Failed, Succeeded
from wopr.domain.status import Move
from wopr.domain.task import COLUMNS, TaskRecord
from wopr.ports.storage import Entry
from wopr.storage.postgres import looks, newtasks, schema, statements
from wopr.storage.postgres.promotion import EVERYTHING, MOST, Known, known_by
from wopr.storage.postgres.rows import (
    alike_rows,
    changed_rows,
    new_row,
    new_rows,
    succeeded_rows,
    surely_new_rows,
)

STEPS = 350
NOON = datetime(2030, 5, 17, 12, 0)
CATEGORIES = ["one", "two"]
WHOLE = (
    f"select {statements.TASK}, owner, awaited, place, keys, ready_at from wopr.tasks order by seq"
)
LOG = """
select seq, task_id::text, attempt, from_status, to_status, occurred_at, worker, reason, error, data
from wopr.transitions order by seq
"""


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows as both can give them."""
    return [
        tuple(one if isinstance(one, str | list | None) else str(one) for one in row)
        for row in rows
    ]


class Both:
    """A simulated server and a real one."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.world = World(1, Storm(), 0, lambda *_: None, lambda *_: None)  # type: ignore[arg-type,return-value]
        self.tables = self.world.server.tables
        self.asked: set[str] = set()

    def say(self, text: str, *, ordered: bool = True, **values: Any) -> list[tuple[Any, ...]]:
        """Have both carry a statement out; return what they say, which has to be the same."""
        self.asked.add(text)
        cursor = self.real.execute(text, values)
        there = plain(cursor.fetchall() if cursor.description is not None else [])
        tx, at = Transaction(self.tables), datetime.now(UTC)
        rows = VERBS[text](Now(tx, values, at, at - timedelta(hours=1)))
        tx.commit()
        here = plain(rows)
        if not ordered:
            here, there = sorted(here, key=str), sorted(there, key=str)
        assert there == here, text
        return rows

    def look_at_all(self) -> None:
        """Compare all tasks, and all that happened to them."""
        tasks = sorted(self.tables.committed["tasks"].values(), key=lambda row: row["seq"])
        columns = (*COLUMNS, "owner", "awaited", "place", "keys", "ready_at")
        here = [tuple(row[one] for one in columns) for row in tasks]
        assert plain(self.real.execute(WHOLE).fetchall()) == plain(here)
        log = [tuple(row.values()) for row in self.tables.committed["transitions"].values()]
        there = self.real.execute(LOG).fetchall()
        assert {(*row[:2], row[4]) for row in plain(there)} == {
            (*row[:2], row[4]) for row in plain(log)
        }


@pytest.fixture
def both() -> Iterator[Both]:
    """Return both, with empty tables."""
    need_server()
    address = PostgresAddress(new_database("wopr_model"))
    with psycopg.connect(address.conninfo, autocommit=True) as real:
        for script in [*schema.steps().values(), schema.views()]:
            real.execute(script)
        real.execute("set client_min_messages = warning")
        yield Both(real)


class Walk:
    """Says at random what hosts say."""

    def __init__(self, both: Both, seed: int) -> None:
        self.both, self.rng, self.ids = both, random.Random(seed), IdFactory()
        self.now = NOON
        self.owners: list[int] = [self._owner(3_600), self._owner(-1)]

    def _owner(self, lease: float) -> int:
        rows = self.both.say(statements.REGISTER, host="h", pid=1, lease=lease)
        return int(rows[0][0])

    def step(self) -> None:
        """Say something."""
        self.now += timedelta(seconds=self.rng.choice([0, 1, 7]))
        deeds = [self.add, self.add, self.claim, self.change, self.change, self.depend, self.look]
        self.rng.choice([*deeds, self.limited, self.recover, self.touch])()

    def _some(self, count: int = 3) -> list[TaskRecord]:
        rows = list(self.both.tables.committed["tasks"].values())
        chosen = self.rng.sample(rows, min(count, len(rows)))
        return [TaskRecord.from_row(tuple(row[one] for one in COLUMNS)) for row in chosen]

    def _new(self) -> TaskRecord:
        rng = self.rng
        soon = rng.choice([None, None, self.now + timedelta(seconds=rng.choice([5, 5, -1]))])
        late = f'{{"expires":"{(self.now + timedelta(seconds=3)).isoformat()}"}}'
        options = rng.choice([None, None, None, '{"at_front":true}', late])
        args = rng.choice(["[]", '["a \\"b\\", {c}"]', "[null]"])
        return TaskRecord(
            self.ids.new(self.now),
            rng.choice(["f", "g"]),
            rng.choice(CATEGORIES),
            rng.choice([1, 2]),
            1,
            args,
            "{}",
            self.now,
            soon,
            rng.choice([None, None, "key 1", "key 2"]),
            options,
        )

    def add(self) -> None:
        """Add tasks, in one of three ways."""
        new = [self._new() for _ in range(self.rng.randint(1, 3))]
        if self.rng.random() < 0.3 and (known := self._some(1)):
            new.append(known[0])  # it is there already
        elif self.rng.random() < 0.5:
            alike = self.rng.random() < 0.5
            for one in new:
                one.unique_key = None
                if alike:
                    one.name, one.category, one.priority = "f", "one", 1
                    one.options = one.run_at = None
            if len(new) == 1 and (row := new_row(new[0])) is not None:
                self.both.say(newtasks.ADD_ONE, **row)
            elif (rows := alike_rows(new)) is not None:
                self.both.say(newtasks.ADD_ALIKE, **rows)
            else:
                self.both.say(newtasks.ADD_NEW, **surely_new_rows(new))
            return
        self.both.say(newtasks.ADD, ordered=False, **new_rows(new))

    def promote(self, category: str) -> Known:
        """Let some of what has become due stand in its order."""
        most = self.rng.choice([2, MOST])
        rows = self.both.say(statements.PROMOTE, category=category, now=self.now, most=most)
        return known_by(rows[0], most, self.now) or EVERYTHING

    def claim(self) -> None:
        """Claim for some workers, also without a lease, and by old rules."""
        category = self.rng.choice(CATEGORIES)
        known = self.promote(category) if self.rng.random() < 0.5 else EVERYTHING
        workers = [f"worker {n}" for n in range(self.rng.randint(1, 3))]
        self.both.say(
            statements.CLAIM,
            category=category,
            names=self.rng.choice([["f", "g"], ["f"]]),
            workers=workers,
            owner=self.rng.choice([self.owners[0], self.owners[0], self.owners[1]]),
            rules=self.rng.choice(["0", "0", "0", "7"]),
            now=self.now,
            most=len(workers),
            **known.values(),
        )

    def change(self) -> None:
        """Change a task, and others that have changed meanwhile."""
        entries: list[Entry] = []
        for record in self._some():
            made = decide.move(record, Move.CANCEL, self.now, reason="by hand")
            if record.status.value == "started":
                outcome = self.rng.choice([Succeeded('"yes"'), Failed("no", "ValueError", "…")])
                made = decide.settle(record, record.attempt, outcome, 0.5) or made
            if made is not None:
                record.version -= bool(entries)  # one at a time: a server takes them as it likes
                entries.append((record, made))
        if (rows := succeeded_rows(entries[:1]) if entries else None) is not None:
            self.both.say(statements.SUCCEED, **rows)
        elif entries:
            whole = self.rng.random() < 0.5
            self.both.say(statements.CHANGE, ordered=False, **changed_rows(entries), whole=whole)

    def depend(self) -> None:
        """Let tasks wait for others, and let go of those that do."""
        ids = [one.id for one in self._some()]
        alive = self.both.say(statements.PARENTS, ordered=False, ids=ids)
        for (parent,) in alive[:1]:
            values = {"parents": [parent] * 2, "children": [ids[0], ids[-1]]}
            self.both.say(statements.AWAIT, **values)
        self.both.say(statements.LOCKED, ids=ids)
        self.both.say(statements.STANDING, ordered=False, ids=ids)
        if self.rng.random() < 0.5:
            text = self.rng.choice([statements.FREED, statements.GIVEN_UP])
            self.both.say(text, ordered=False, ids=ids)

    def limited(self) -> None:
        """Look at what is due, one by one, and count what runs."""
        category = self.rng.choice(CATEGORIES)
        known = {"owner": self.owners[0], "rules": "0"}
        self.both.say(statements.HOLDS, **known)
        self.promote(category)
        self.both.say(
            statements.CANDIDATES,
            category=category,
            now=self.now,
            names=["f"],
            revoked=self.rng.choice([[], ["g"]]),
            looked_after=self.rng.random() < 0.5,
            priority=self.rng.choice([1_000, 2]),
            place=-(2**62),
            most=5,
        )
        self.both.say(statements.RUNS, ordered=False, category=category)
        since = self.now - timedelta(seconds=60)
        self.both.say(statements.STARTS, category=category, since=since)

    def recover(self) -> None:
        """Find what the dead have left."""
        gone = self._owner(-1)
        ids = [one.id for one in self._some(2)]
        owner = self.rng.choice([gone, self.owners[0]])
        self.both.say(statements.OWN, owner=owner, ids=ids, keys=['{"mail": "a"}'] * len(ids))
        self.both.say(statements.ORPHANS, ordered=False, category=None, most=500)
        self.both.say(statements.ADOPT, owner=self.owners[0], before=gone)
        self.both.say(statements.FORGET_EXPIRED)
        for owner in (gone, self.owners[0]):
            self.both.say(statements.RENEW, lease=3_600, owner=owner, slots="{}")
        if self.rng.random() < 0.3:
            self.both.say(statements.LEAVE, owner=self.owners[0])
            self.owners[0] = self._owner(3_600)

    def touch(self) -> None:
        """Tell how far tasks are."""
        some = self._some()
        self.both.say(
            statements.TOUCH,
            ids=[one.id for one in some],
            attempts=[one.attempt for one in some],
            progress=[50.0] * len(some),
            messages=["half"] * len(some),
            data=[None] * len(some),
        )

    def look(self) -> None:
        """Ask what hosts ask now and then."""
        some = self._some()
        asked = {"ids": [one.id for one in some], "versions": [one.version for one in some]}
        self.both.say(looks.STALE, ordered=False, **asked)
        self.both.say(
            looks.LOOK_AROUND,
            owner=self.owners[0],
            categories=CATEGORIES,
            now=self.now,
            lease=0.0,
        )
        self.both.say(statements.GET, ordered=False, ids=asked["ids"])
        self.both.say(statements.ENDED, ordered=False, ids=asked["ids"])
        self.both.say(statements.HOLDER, key="key 1")
        self.both.say(statements.COUNTS, ordered=False)
        for one in some[:1]:
            self.both.say(statements.HISTORY, id=one.id)


def test_the_simulated_server_does_what_a_real_one_does(both: Both) -> None:
    walk = Walk(both, 5)
    for _ in range(STEPS):
        walk.step()
    both.look_at_all()
    assert len(both.tables.committed["tasks"]) > 50
    new = {newtasks.ADD, newtasks.ADD_NEW, newtasks.ADD_ALIKE, newtasks.ADD_ONE}
    assert new | {statements.CHANGE, statements.SUCCEED, statements.CLAIM} <= both.asked
    assert any(row["ready_at"] for row in both.tables.committed["tasks"].values())
    assert len(both.asked) > 25
