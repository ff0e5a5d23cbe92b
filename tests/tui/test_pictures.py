"""The dashboard in a terminal as it looks; ``pytest --snapshot-update`` once one has looked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from support.queues import SteppableClock, until
from tui.made_up import Reads
from wopr import TaskQueue
from wopr.tui.app import Top

SIZES = pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["80x24", "200x50"])


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the clock on the wall show UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def top(reads: Reads, clock: SteppableClock) -> Top:
    queue = TaskQueue(enabled=False, database=Path("/srv/shop/tasks.duckdb"))
    return Top(queue, reads, clock)


async def shown(pilot: Pilot[Any]) -> None:
    """Wait until all tables are filled."""

    async def failures() -> int:
        await pilot.pause()
        return pilot.app.query_one("#failures").row_count

    await until(failures, bool)


@SIZES
def test_what_flows_and_what_does_not(snap_compare: Any, size: tuple[int, int]) -> None:
    app = top(Reads(), SteppableClock())
    assert snap_compare(app, terminal_size=size, run_before=shown)


def test_of_a_narrow_terminal_each_table_is_a_page(snap_compare: Any) -> None:
    async def turn(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press("2")

    assert snap_compare(top(Reads(), SteppableClock()), run_before=turn)


@SIZES
def test_what_is_old_says_since_when_and_why(snap_compare: Any, size: tuple[int, int]) -> None:
    reads, clock = Reads(), SteppableClock()
    app = top(reads, clock)

    async def lose(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        reads.trouble = "The process 4711 that has the database open does not answer."
        clock.advance(95)
        app.look_again()

        async def old() -> bool:
            await pilot.pause()
            return app.query_one("#head").has_class("old")

        await until(old, bool)

    assert snap_compare(app, terminal_size=size, run_before=lose)


def test_help_tells_of_each_key(snap_compare: Any) -> None:
    async def ask(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press("question_mark")

    assert snap_compare(top(Reads(), SteppableClock()), run_before=ask)
