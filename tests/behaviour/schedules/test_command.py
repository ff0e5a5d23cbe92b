"""``wopr schedules`` on the command line."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.matching import check_document
from support.programs import run
from wopr import Settings, TaskQueue


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.duckdb"

    async def fill() -> None:
        queue = TaskQueue(enabled=True, database=path, settings=Settings(scheduler=False))

        @queue.task
        async def report(day: str) -> str:
            return day

        async with queue:
            await queue.schedules.add(
                "daily", report, args=("today",), at="14:30", tz="Europe/Berlin", tags=["mail"]
            )
            await queue.schedules.add("child", report, args=("x",), every=60, depends_on=["daily"])

    asyncio.run(fill())
    return path


def wopr(database: Path, *words: str, code: int = 0) -> str:
    done = run(["wopr", "schedules", *words, "--database", database], database.parent)
    assert code == done.returncode, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def answer(database: Path, *words: str) -> Any:
    return check_document(f"schedules {words[0]}", json.loads(wopr(database, *words, "--json")))


def test_list_shows_each_with_what_it_does(database: Path) -> None:
    said = wopr(database, "list")
    assert "daily at 14:30 Europe/Berlin" in said
    assert "no worker process" in said
    assert ["child", "daily"] == [one["name"] for one in answer(database, "list")["schedules"]]


def test_show_says_why_nothing_fires(database: Path) -> None:
    said = wopr(database, "show", "daily")
    assert "no process has the database open, so nothing fires. Start one: wopr worker" in said
    assert '["today"]' in said
    found = answer(database, "show", "daily")
    assert ("no worker process", ["mail"]) == (found["reason"], found["tags"])


def test_pause_and_resume(database: Path) -> None:
    said = wopr(database, "pause", "daily", "--reason", "audit")
    assert "paused since" in said
    assert "audit" in said
    assert "paused" == answer(database, "show", "daily")["reason"]
    assert "audit" == answer(database, "pause", "daily", "-r", "audit")["paused_reason"]
    assert answer(database, "resume", "daily")["paused_at"] is None
    assert "planned for" in wopr(database, "resume", "daily")


def test_run_enqueues_one_task(database: Path) -> None:
    assert " enqueued" in wopr(database, "run", "daily")
    task_id = answer(database, "run", "daily")["task_id"]
    shown = run(["wopr", "tasks", "show", task_id, "--json", "-d", database], database.parent)
    assert ("daily", ["today"]) == (
        json.loads(shown.stdout)["schedule"],
        json.loads(shown.stdout)["args"],
    )
    assert "needs the results of 'daily'" in wopr(database, "run", "child", code=2)


def test_preview(database: Path) -> None:
    assert 3 == len(answer(database, "preview", "daily", "-n", "3")["times"])
    lines = wopr(database, "preview", "daily", "-n", "2").splitlines()
    assert 2 == len(lines)
    assert all(30 == datetime.fromisoformat(line).astimezone(UTC).minute for line in lines)


def test_remove(database: Path) -> None:
    assert "'child' would wait for it for ever" in wopr(database, "remove", "daily", code=2)
    assert {"removed": "child"} == answer(database, "remove", "child")
    assert "daily removed" in wopr(database, "remove", "daily")
    assert "There are no schedules." in wopr(database, "list")


def test_an_unknown_name_is_no_answer(database: Path) -> None:
    said = wopr(database, "show", "dayly", code=1)
    assert "There is no schedule 'dayly'. Did you mean 'daily'?" in said
