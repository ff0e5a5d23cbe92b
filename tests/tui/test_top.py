"""The dashboard in a terminal over a queue that another one owns: keys are pressed, acts happen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.events import AppBlur, AppFocus
from textual.pilot import Pilot
from textual.widgets import Static

from support.owners import client, end, start_owner, stopped
from support.queues import PATIENCE, Gate, until, until_status
from support.restapp import rest_app
from wopr import TaskQueue, TaskStatus, current_task
from wopr.domain.clock import SystemClock
from wopr.service.appserver import AppServer, place_at
from wopr.tui.app import Top, rest
from wopr.tui.reading import Reader

NASTY = "boom \x1b]0;owned\x07\x1b[2J\u202e [red]not markup[/red] password=hunter2"


@dataclass
class Seen:
    """A terminal with the dashboard, and who has the file."""

    app: Top
    pilot: Pilot[None]
    owner: TaskQueue
    gate: Gate

    async def shows(self, look: Callable[[Top], Any]) -> Any:
        """Wait until something is to be seen."""

        async def once() -> Any:
            await self.pilot.pause()
            return look(self.app)

        return await until(once, bool)

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until they were taken."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def asked(self, text: str) -> str:
        """Wait for a dialog whose text holds a text; return all of it."""

        def look(app: Top) -> str:
            said = "\n".join(str(one.content) for one in app.screen.query(Static))
            return said if len(app.screen_stack) > 1 and text in said else ""

        return str(await self.shows(look))

    async def told(self, text: str) -> str:
        """Wait for a message at the edge."""

        def look(app: Top) -> str:
            said = "\n".join(one.message for one in app._notifications)
            return said if text in said else ""

        return str(await self.shows(look))


@contextlib.asynccontextmanager
async def watching(queue: TaskQueue, **options: Any) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    app = Top(queue, Reader(queue, SystemClock()), SystemClock(), **options)
    async with app.run_test(size=(100, 30)) as pilot:
        yield app, pilot


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[Seen]:
    """Watch a queue in which one task runs, two wait and one has failed."""
    gate = Gate()
    owner = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @owner.task(name="hold", category="mail")
    async def hold(number: int) -> None:
        current_task().progress(40, "half")
        await gate.wait(number)

    @owner.task(name="nasty", category="odd", max_retries=0)
    async def nasty(text: str) -> None:
        if not gate._open.is_set():
            raise ValueError(text)

    async with owner:
        await owner.start_workers("mail", 1)
        await owner.start_workers("odd", 1)
        for number in range(3):
            await hold.enqueue(number)
        failed = await nasty.enqueue(NASTY)
        await until_status(owner, failed.id, TaskStatus.FAILED)
        await gate.arrivals()
        async with (
            TaskQueue(enabled=True, database=owner.database) as queue,
            watching(queue) as (app, pilot),
        ):
            here = Seen(app, pilot, owner, gate)
            await here.shows(lambda one: one.quick and one.query_one("#failures").row_count)
            yield here
        gate.open()
        await owner.shutdown(timeout=0)


def cell(app: Top, table: str, row: int, column: int) -> str:
    return str(app.query_one(f"#{table}").get_cell_at((row, column)))


async def statuses(queue: TaskQueue, name: str) -> list[str]:
    return sorted(info.status.value for info in await queue.get_tasks(name=name))


async def test_it_shows_what_waits_runs_and_fails(seen: Seen) -> None:
    await seen.shows(lambda app: "40 %" in cell(app, "running", 0, 2))
    assert ("mail", "2", "2", "1") == tuple(cell(seen.app, "categories", 0, n) for n in range(4))
    assert ("hold", "half") == (cell(seen.app, "running", 0, 0), cell(seen.app, "running", 0, 3))
    assert 2 == seen.app.query_one("#workers").row_count
    assert "Work flows" in str(seen.app.query_one("#why", Static).content)


async def test_texts_of_tasks_draw_nothing_and_tell_no_secret(seen: Seen) -> None:
    await seen.press("3")
    error = cell(seen.app, "failures", 0, 3)
    assert "[red]not markup[/red]" in error
    assert not {"\x1b", "\x07", "\u202e"} & set(error)
    assert "hunter2" not in error
    await seen.press("enter")
    said = await seen.asked("1 times")
    assert "hunter2" not in said
    assert "\x1b" not in said


async def test_cancel_shows_what_it_would_do_then_does_it_and_undo_takes_it_back(
    seen: Seen,
) -> None:
    await seen.press("c")
    said = await seen.asked("3 of 3 selected tasks would be cancelled")
    assert "hold, pending: 2 of 2" in said
    await seen.press("escape")
    await seen.shows(lambda app: len(app.screen_stack) == 1)
    assert ["pending", "pending", "started"] == await statuses(seen.owner, "hold")
    await seen.press("c")
    await seen.asked("would be cancelled")
    await seen.press(*"wrong", "enter")
    await seen.told("3 tasks cancelled (act 1)")
    assert ["cancelled"] * 3 == await statuses(seen.owner, "hold")
    [act] = await seen.owner.acts()
    assert "wrong" == act.reason
    await seen.press("u")
    await seen.asked("cancel by")
    await seen.press("enter")
    await seen.told("changes taken back")
    assert ["cancel", "undo"] == sorted(act.verb for act in await seen.owner.acts())
    assert {"pending", "started"} >= set(await statuses(seen.owner, "hold"))


async def test_retry_is_about_all_tasks_that_failed_like_the_row(seen: Seen) -> None:
    seen.gate.open()
    await seen.press("3", "r")
    await seen.asked("1 of 1 selected task would be retried")
    await seen.press("enter")
    await seen.told("1 task retried")
    [info] = await seen.owner.get_tasks(name="nasty")
    await until_status(seen.owner, info.id, TaskStatus.SUCCESS)


async def test_pause_and_resume(seen: Seen) -> None:
    await seen.press("p")
    await seen.asked("Pause category mail?")
    await seen.press(*"lunch", "enter")
    await seen.told("category mail paused")
    [pause] = await seen.owner.pauses()
    assert ("mail", "lunch") == (pause.category, pause.reason)
    await seen.shows(lambda app: "mail (paused)" == cell(app, "categories", 0, 0))
    await seen.press("p")
    await seen.asked("Resume category mail?")
    await seen.press("enter")
    await seen.told("category mail resumed")
    assert [] == await seen.owner.pauses()


async def test_a_filter_looks_in_all_tasks_and_in_what_is_shown(seen: Seen) -> None:
    await seen.press("slash", *"failed", "enter", "5")
    await seen.shows(lambda app: 1 == app.query_one("#tasks").row_count)
    assert "nasty" == cell(seen.app, "tasks", 0, 0)
    assert 0 == seen.app.query_one("#categories").row_count
    await seen.press("escape")
    await seen.shows(lambda app: 2 == app.query_one("#categories").row_count)


async def test_acts_are_listed_and_one_of_them_taken_back(seen: Seen) -> None:
    await seen.owner.tasks.where(name="hold", status="pending").cancel(reason="first")
    await seen.press("a", "u")
    await seen.asked("Take act 1 back?")
    await seen.press("enter")
    await seen.told("2 changes taken back")


async def test_read_only_acts_on_nothing(seen: Seen) -> None:
    seen.app._acting._read_only = True
    for key in "cpru":
        await seen.press(key)
    await seen.told("--read-only")
    assert [] == await seen.owner.acts()


async def test_beside_a_file_that_nobody_has_open_it_only_looks(tmp_path: Path) -> None:
    queue = client(tmp_path / "tasks.duckdb")
    async with queue:
        handle = await queue.enqueue("double", args=(1,))
        async with watching(queue) as (app, pilot):
            here = Seen(app, pilot, queue, Gate())
            await here.shows(lambda one: one.query_one("#categories").row_count)
            assert "nobody works on it" in str(app.query_one("#head", Static).content)
            await here.press("c")
            await here.told("No worker has the database open")
        assert TaskStatus.PENDING is (await queue.require_task_info(handle.id)).status


async def test_a_queue_at_an_address_is_watched_and_acted_on_there(seen: Seen) -> None:
    server = AppServer(lambda: rest_app(seen.owner), place_at("127.0.0.1:0"))
    await server.start()
    try:
        async with (
            TaskQueue(enabled=True, database=server.url) as queue,
            watching(queue) as (app, pilot),
        ):
            there = Seen(app, pilot, seen.owner, seen.gate)
            await there.shows(lambda one: one.query_one("#categories").row_count)
            assert "40 %" in cell(app, "running", 0, 2)
            await there.press("c")
            await there.asked("3 of 3 selected tasks would be cancelled")
            await there.press("enter")
            await there.told("3 tasks cancelled")
        [act] = await seen.owner.acts()
        assert ("cancel", "ada") == (act.verb, act.who)
    finally:
        await server.stop()


async def test_while_the_owner_is_silent_it_says_since_when_what_it_shows_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.tui.reading.PATIENCE", 0.5)
    process = await asyncio.to_thread(start_owner, tmp_path / "tasks.duckdb")
    try:
        queue = client(tmp_path / "tasks.duckdb")
        async with queue, watching(queue) as (app, pilot):
            here = Seen(app, pilot, queue, Gate())
            head = app.query_one("#head", Static)
            await here.shows(lambda one: f"owner {process.pid}" in str(head.content))
            with stopped(process):
                app.look_again()
                await here.shows(lambda one: "OLD: this is how it was at" in str(head.content))
            monkeypatch.setattr("wopr.tui.reading.PATIENCE", PATIENCE)
            await here.shows(lambda one: f"owner {process.pid}" in str(head.content))
            await asyncio.to_thread(end, process)
            await here.shows(lambda one: "nobody works on it" in str(head.content))
            process = await asyncio.to_thread(start_owner, tmp_path / "tasks.duckdb")
            await here.shows(lambda one: f"owner {process.pid}" in str(head.content))
    finally:
        await asyncio.to_thread(end, process)


async def test_without_the_keyboard_it_looks_seldom(seen: Seen) -> None:
    await seen.shows(lambda app: app.quick)
    seen.app.post_message(AppBlur())
    await seen.shows(lambda app: app._blurred)
    seen.app.post_message(AppFocus())
    await seen.shows(lambda app: not app._blurred)


@pytest.mark.parametrize(
    ("seconds", "took", "blurred"),
    [(1.0, 0.01, False), (4.5, 0.5, False), (10.0, 0.01, True), (18.0, 2.0, True)],
)
def test_a_look_takes_a_tenth_of_the_time_at_most(
    seconds: float, took: float, blurred: bool
) -> None:
    assert seconds == rest(1.0, took, blurred=blurred)
