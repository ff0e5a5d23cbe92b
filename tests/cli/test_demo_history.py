"""``wopr demo --history``: a made-up week in which every page finds something."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.commands import call
from support.matching import check_document
from wopr import TaskQueue
from wopr.demo import shop
from wopr.demo.history import write_history
from wopr.storage.duckdb import doctor

NOW = datetime(2025, 11, 30, 12, 0, tzinfo=UTC)
SOMETHING = {
    "statuses": "select count(distinct status) from tasks",
    "waiting": "select count(*) from tasks where status = 'pending' and category = 'imports'",
    "cancelled": "select count(*) from tasks where status = 'cancelled' and name = 'imports.feed'",
    "categories": "select count(distinct category) from tasks",
    "flows": "select count(*) from flows",
    "failures": "select count(*) from failures",
    "retries": "select count(*) from transitions where to_status = 'retry'",
    "lost": "select count(*) from transitions where reason = 'worker lost'",
    "interrupted": "select count(*) from transitions where reason = 'shutdown'",
    "runs": "select count(*) from schedule_runs",
    "missed": "select count(*) from missed_times",
    "acts": "select count(*) from acts",
    "undone": "select count(*) from acts where undoes is not null and changed > 0",
    "alerts": "select count(*) from rules where kind = 'alert'",
    "limits": "select count(*) from rules where kind = 'limit'",
    "pauses": "select count(*) from rules where kind = 'pause'",
    "deliveries": "select count(*) from tasks where name = 'wopr.notify'",
    "lines": "select count(*) from task_logs",
    "progress": "select count(*) from tasks where status = 'started' and progress > 0",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a week in it."""
    path = tmp_path_factory.mktemp("history") / "shop.duckdb"
    answer = call("demo", "--history", "--tasks", 5_000, "-d", path, "--json")
    assert 0 == answer.code, answer.err
    made = check_document("demo", json.loads(answer.out))
    assert 4_500 < made["tasks"] < 5_500
    assert made["transitions"] > 2 * made["tasks"]
    return path


def _ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_it_has_something_of_everything(path: Path) -> None:
    found = {what: _ask(path, sql)[0][0] for what, sql in SOMETHING.items()}
    assert [] == [what for what, count in found.items() if not count]
    assert 5 <= found["statuses"]
    assert 9 == found["categories"]
    assert doctor.check(path).clean


async def test_the_same_seed_and_moment_make_the_same_week(tmp_path: Path) -> None:
    rows = []
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        path = tmp_path / f"{name}.duckdb"
        await write_history(path, tasks=600, days=1, seed=seed, now=NOW)
        rows.append(_ask(path, "from transitions order by seq"))
        assert NOW.replace(tzinfo=None) >= rows[-1][-1][5]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


async def test_the_shop_goes_on_with_its_week(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    await write_history(path, tasks=600, days=1)
    [(task_id, name)] = _ask(
        path,
        "select id::varchar, name from tasks where status = 'pending' and category = 'mail' "
        "order by seq limit 1",
    )
    async with TaskQueue(enabled=True, database=path, tasks=[shop]) as queue:
        assert name in queue.task_functions
        before = {one.name: one for one in await queue.schedules.list()}
        await queue.start_scheduler()
        after = {one.name: one for one in await queue.schedules.list()}
        assert before.keys() == after.keys()
        assert [one.trigger for one in before.values()] == [one.trigger for one in after.values()]
        assert not any(one.paused_at for one in after.values())
        await queue.start_workers((await queue.require_task_info(task_id)).category, 8)
        await queue.wait(task_id, timeout=60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--history"], "name it with --database PATH"),
        (["--history", "-d", "new.duckdb", "--files", "3"], "of the demo that processes real"),
        (["--tasks", "5000"], "add --history"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], said: str) -> None:
    answer = call("demo", *words)
    assert 2 == answer.code
    assert said in answer.err
