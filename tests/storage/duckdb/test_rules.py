"""Rules that are set at run time: kept, changed, deleted, and there after any end."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from storage.conftest import add, claim, later
from support.databases import killed
from wopr import StorageError
from wopr.domain.rule import Rule, RuleKind
from wopr.storage.duckdb.storage import DuckDBStorage

LIMIT, PAUSE, REVOCATION, ALERT, _ = RuleKind
TODAY = datetime(2030, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)


def rule(kind: RuleKind, name: str, value: str = '{"n":1}') -> Rule:
    return Rule(kind, name, value, TODAY)


# --- keeping, changing and deleting ---


async def test_moments_are_kept_in_utc(storage: DuckDBStorage) -> None:
    here = TODAY.astimezone(timezone(timedelta(hours=-7)))

    await storage.save_rules([Rule(LIMIT, "a", "{}", here)])

    [found] = await storage.rules()
    assert (TODAY, UTC) == (found.updated_at, found.updated_at.tzinfo)


# --- all or none, and for good ---


async def test_of_rules_that_are_saved_together_all_are_or_none(storage: DuckDBStorage) -> None:
    await storage.save_rules([rule(LIMIT, "a", '{"n":1}')])

    with pytest.raises(StorageError, match="Nothing was acknowledged"):
        await storage.save_rules([rule(LIMIT, "a", '{"n":2}'), rule(LIMIT, "b", "\ud800")])

    assert [rule(LIMIT, "a", '{"n":1}')] == await storage.rules()


async def test_a_closed_storage_takes_no_rule(path: Path) -> None:
    storage = DuckDBStorage(path)

    with pytest.raises(StorageError, match="is not open"):
        await storage.save_rules([rule(LIMIT, "a")])


async def test_rules_are_there_after_closing_and_opening(path: Path) -> None:
    first, second = DuckDBStorage(path), DuckDBStorage(path)
    await first.open()
    await first.save_rules([rule(LIMIT, "a"), rule(PAUSE, "b")])
    await first.delete_rules([(LIMIT, "a")])
    await first.close()

    await second.open()

    assert [rule(PAUSE, "b")] == await second.rules()
    await second.close()


CHILD = """
import asyncio, json
from datetime import UTC, datetime
from pathlib import Path
from wopr.domain.rule import Rule, RuleKind
from wopr.storage.duckdb.storage import DuckDBStorage

def rules(names, value):
    return [Rule(RuleKind.LIMIT, name, value, datetime(2030, 1, 1, tzinfo=UTC)) for name in names]
"""
ONCE = """
async def main():
    storage = DuckDBStorage(path)
    await storage.open()
    await storage.save_rules(rules(["kept", "gone"], "{}"))
    await storage.delete_rules([(RuleKind.LIMIT, "gone")])
    die()

asyncio.run(main())
"""
FOREVER = """
import random, sys

async def main(path, seed):
    rng = random.Random(seed)
    storage = DuckDBStorage(Path(path))
    await storage.open()
    state = {rule.name: rule.value for rule in await storage.rules()}
    while True:
        names = rng.sample("abcdefgh", rng.randint(1, 5))
        after = dict(state)
        if rng.random() < 0.7:
            value = json.dumps({"n": rng.random()})
            call = storage.save_rules(rules(names, value))
            after |= dict.fromkeys(names, value)
        else:
            call = storage.delete_rules([(RuleKind.LIMIT, name) for name in names])
            for name in names:
                after.pop(name, None)
        print(json.dumps(after), flush=True)  # announced
        await call
        print("done", flush=True)
        state = after

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_rules_outlive_a_kill_right_after_they_were_saved(path: Path) -> None:
    killed(CHILD + ONCE, path)

    storage = DuckDBStorage(path)
    await storage.open()
    assert ["kept"] == [found.name for found in await storage.rules()]
    await storage.close()


def _said_before_it_was_killed(path: Path, seed: int, lines: int) -> list[str]:
    """Run a child that changes rules, kill it after so many lines, return all it said."""
    command = [sys.executable, "-c", CHILD + FOREVER, str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    assert -signal.SIGKILL == process.returncode
    return [line for line in said if line.endswith("\n")]  # the kill may cut the last one


async def test_a_kill_at_any_moment_leaves_the_rules_as_the_last_answer_or_the_one_under_way(
    path: Path,
) -> None:
    rng = random.Random(7)
    for seed in range(4):
        said = _said_before_it_was_killed(path, seed, rng.randint(20, 120))
        states = [line.strip() for line in said if line != "done\n"]
        answered = sum(line == "done\n" for line in said)
        assert answered >= 5
        allowed = states[answered - 1 : answered + 1]

        storage = DuckDBStorage(path)
        await storage.open()
        found = {one.name: one.value for one in await storage.rules()}
        await storage.close()

        assert found in [json.loads(state) for state in allowed]


# --- what limits ask for ---


async def test_starts_are_known_after_closing_and_opening(path: Path) -> None:
    first, second = DuckDBStorage(path), DuckDBStorage(path)
    await first.open()
    record = await add(first)
    await claim(first, record, later(1))
    await first.close()

    await second.open()

    assert [(later(1), record.id)] == [
        (moment, found.id) for moment, found in await second.starts("c", later(0))
    ]
    await second.close()
