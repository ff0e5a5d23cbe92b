"""The process that has the file dies, and another one takes it: an open page goes on."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from support.browsers import Served
from support.owners import end, start_owner
from wopr import TaskQueue

PATIENCE = 90_000
"""So many milliseconds something is waited for, on a machine that does other things, too."""
LIVE = '[data-live][data-state="live"]'
SAID = "() => document.querySelector('[data-live-text]').textContent"


async def prepare(queue: TaskQueue) -> None:
    """Know the tasks of the owner, none of which runs here."""

    @queue.task(name="double")
    async def double(number: int) -> int:
        raise AssertionError("runs in the owner, not here")


def test_a_page_goes_on_live_when_the_owner_of_the_file_changes(
    tmp_path: Path, chrome: Browser
) -> None:
    database = tmp_path / "tasks.duckdb"
    owner = start_owner(database)
    try:
        with Served(database, prepare) as served, chrome.new_context() as context:
            page = context.new_page()
            page.goto(f"{served.url}/tasks?status=success")
            page.wait_for_selector(LIVE)
            page.evaluate("window.still = 'the same page'")

            owner.kill()
            owner.wait()
            owner.stdout.close() if owner.stdout else None
            owner.stdin.close() if owner.stdin else None
            owner = start_owner(database)
            seen = page.evaluate(SAID)
            page.wait_for_function(f"before => ({SAID})() !== before", arg=seen)  # it is told anew
            page.wait_for_selector(LIVE)

            handle = served.do(served.queue.enqueue("double", (4,)))
            served.do(served.queue.wait(handle.id))
            row = page.locator(f'main a[href="/tasks/{handle.id}"]').first
            expect(row).to_be_visible(timeout=PATIENCE)
            assert page.evaluate("window.still") == "the same page"
            names = [one.name for one in served.do(served.queue.worker_info())]
            assert all(f"-{owner.pid}-" in name for name in names), names
            assert len(names) == 4
    finally:
        end(owner)
