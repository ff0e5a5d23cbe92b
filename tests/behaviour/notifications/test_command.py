"""``wopr alerts`` on the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from behaviour.notifications.conftest import Inbox
from support.commands import call
from support.matching import check_document
from support.queues import PATIENCE, ended
from wopr import TaskQueue
from wopr.notifications import NotificationService


@pytest.fixture(autouse=True)
def _wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.duckdb"

    async def make() -> None:
        async with TaskQueue(enabled=True, database=path):
            pass

    asyncio.run(make())
    return path


def wopr(database: Path, *words: str, code: int = 0) -> str:
    done = call("alerts", *words, "--database", database)
    assert code == done.code, done.out + done.err
    return done.out if code == 0 else done.out + done.err


def test_add_list_and_remove(database: Path) -> None:
    assert "There are no alerts." in wopr(database, "list")
    assert "mail added" in wopr(database, "add", "mail", "--when", "final_failure", "-t", "mail.*")
    options = ("--threshold", "30", "--every", "60", "--emits", "ops", "-l", "critical")
    added = wopr(database, "add", "slow", "-w", "slow", "-c", "reports", *options, "--json")
    expected: dict[str, Any] = {
        "name": "slow",
        "when": "slow",
        "task": None,
        "category": "reports",
        "level": "critical",
        "threshold": 30.0,
        "every": 60.0,
        "emits": "ops",
    }
    assert expected == check_document("alerts add", json.loads(added))
    found = json.loads(wopr(database, "list", "--json"))["alerts"]
    assert ["mail", "slow"] == [one["name"] for one in found]
    assert expected == found[1]
    said = wopr(database, "list")
    assert ["mail", "final_failure", "mail.*", "error", "5", "min", "alerts"] == (
        said.splitlines()[2].split()
    )
    assert {"version": 1, "removed": "slow"} == json.loads(
        wopr(database, "remove", "slow", "--json")
    )
    assert "mail removed" in wopr(database, "remove", "mail")
    said = wopr(database, "remove", "mail", code=1)
    assert "There is no alert 'mail'" in said


def test_what_can_not_be_an_alert_is_refused(database: Path) -> None:
    said = wopr(database, "add", "a", "--when", "slow", code=2)
    assert "slow needs a threshold, in seconds" in said
    said = wopr(database, "add", "a", "--when", "telepathy", code=2)
    assert "'telepathy' is not one of" in said
    said = wopr(database, "add", "a", "--when", "slow", "--threshold", "-1", code=2)
    assert "threshold: Input should be greater than or equal to 0, not -1.0. Right is" in said
    said = wopr(database, "add", "a", "--when", "slow", "--threshold", "soon", code=2)
    assert "'--threshold'" in said
    assert "number, not 'soon'" in said
    assert "There are no alerts." in wopr(database, "list")


async def test_a_running_service_hears_of_an_alert_that_the_command_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.notifications.watch.LOOK_SECONDS", 0.05)
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task(name="boom")
    async def boom() -> None:
        raise ValueError("no")

    service = NotificationService(queue)
    inbox = Inbox()
    service.route(inbox)
    async with queue, service:
        await queue.start_workers("default", 1)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wopr", "alerts", "add", "a", "--when", "final_failure"),
            *("--database", str(queue.database)),
        )
        assert 0 == await asyncio.wait_for(process.wait(), PATIENCE)
        await service.look()
        handle = await boom.enqueue()
        await ended(queue, handle.id)
        (event,) = await inbox.wait(1)
    assert "boom failed for good" == event.title
