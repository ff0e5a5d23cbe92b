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

from storage.conftest import add, claim, end, fail, later, new_task
from support.databases import killed
from wopr import StorageError
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.transition import added
from wopr.ports.storage import Storage
from wopr.storage.duckdb.storage import DuckDBStorage

LIMIT, PAUSE, REVOCATION, ALERT = RuleKind
TODAY = datetime(2030, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)


def rule(kind: RuleKind, name: str, value: str = '{"n":1}') -> Rule:
    return Rule(kind, name, value, TODAY)


# --- keeping, changing and deleting ---


async def test_rules_come_back_by_kind_and_name(any_storage: Storage) -> None:
    assert [] == await any_storage.rules()

    await any_storage.save_rules([rule(PAUSE, "b"), rule(LIMIT, "b"), rule(PAUSE, "a")])
    await any_storage.save_rules([rule(ALERT, "ünï 'quoted'\nname", '{"text":"ö\\u0000"}')])

    assert [
        rule(ALERT, "ünï 'quoted'\nname", '{"text":"ö\\u0000"}'),
        rule(LIMIT, "b"),
        rule(PAUSE, "a"),
        rule(PAUSE, "b"),
    ] == await any_storage.rules()


async def test_saving_a_rule_again_changes_it_and_no_other(any_storage: Storage) -> None:
    await any_storage.save_rules([rule(LIMIT, "a"), rule(LIMIT, "b"), rule(PAUSE, "a")])
    changed = Rule(LIMIT, "a", '{"n":2}', TODAY + timedelta(hours=1))

    await any_storage.save_rules([changed, rule(REVOCATION, "a")])

    expected = [changed, rule(LIMIT, "b"), rule(PAUSE, "a"), rule(REVOCATION, "a")]
    assert expected == await any_storage.rules()


async def test_of_a_rule_that_is_saved_twice_at_once_the_last_one_holds(
    any_storage: Storage,
) -> None:
    await any_storage.save_rules([rule(LIMIT, "a", "{}"), rule(LIMIT, "a", '{"n":2}')])

    assert [rule(LIMIT, "a", '{"n":2}')] == await any_storage.rules()


async def test_deleted_rules_are_gone_and_unknown_ones_are_no_error(any_storage: Storage) -> None:
    await any_storage.save_rules([rule(LIMIT, "a"), rule(LIMIT, "b"), rule(PAUSE, "a")])

    await any_storage.delete_rules([(LIMIT, "a"), (PAUSE, "b"), (ALERT, "x")])

    assert [rule(LIMIT, "b"), rule(PAUSE, "a")] == await any_storage.rules()


async def test_saving_and_deleting_nothing_changes_nothing(any_storage: Storage) -> None:
    await any_storage.save_rules([rule(LIMIT, "a")])

    await any_storage.save_rules([])
    await any_storage.delete_rules([])

    assert [rule(LIMIT, "a")] == await any_storage.rules()


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


async def test_starts_are_those_of_the_category_since_the_moment_in_order(
    any_storage: Storage,
) -> None:
    first, second, other, unclaimed = [
        await add(any_storage, category) for category in ("c", "c", "d", "c")
    ]
    await claim(any_storage, first, later(1))
    await claim(any_storage, other, later(2))
    await claim(any_storage, second, later(3))
    await fail(any_storage, first)
    await claim(any_storage, first, later(5))
    await end(any_storage, first)

    async def starts(since: datetime) -> list[tuple[datetime, str]]:
        found = await any_storage.starts("c", since)
        assert all("[1]" == record.args for _, record in found)
        return [(moment, record.id) for moment, record in found]

    everything = [(later(1), first.id), (later(3), second.id), (later(5), first.id)]
    assert everything == await starts(later(0))
    assert everything == await starts(later(1))
    assert everything[1:] == await starts(later(1.5))
    assert [] == await starts(later(6))
    assert [] == await any_storage.starts("none", later(0))
    assert "pending" == unclaimed.status.value


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


async def test_the_backlog_is_what_may_still_start_for_whatever_reason(
    any_storage: Storage,
) -> None:
    assert 0 == await any_storage.backlog("c")
    await add(any_storage)
    await add(any_storage, run_at=later(3600))
    await add(any_storage, "d")
    again, started, ended = [await add(any_storage) for _ in range(3)]
    for record in (again, started, ended):
        await claim(any_storage, record)
    await fail(any_storage, again)
    await end(any_storage, ended)

    assert "retry" == again.status.value
    assert "started" == started.status.value
    assert 3 == await any_storage.backlog("c")
    assert 1 == await any_storage.backlog("d")


async def test_the_backlog_has_what_was_submitted_and_is_not_committed_yet(
    any_storage: Storage,
) -> None:
    record = new_task()
    told: list[BaseException | None] = []

    any_storage.submit([(record, added(record))], told.append, urgent=False)

    assert [] == told
    assert 1 == await any_storage.backlog("c")
