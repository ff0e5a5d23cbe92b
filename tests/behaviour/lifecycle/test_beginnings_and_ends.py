"""Opening and closing: what goes on meanwhile, and who gives up meanwhile."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from support.queues import PATIENCE, DuckDBHome, Gate, ended
from wopr import QueueClosedError, TaskQueue, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.remote.server import Server


@pytest.fixture
def home(tmp_path: Path) -> DuckDBHome:
    return DuckDBHome(tmp_path / "tasks.duckdb")


def _parent(queue: TaskQueue, gate: Gate) -> None:
    @queue.register_task("child")
    async def child() -> None: ...

    @queue.register_task("parent")
    async def parent() -> str:
        await gate.wait()
        return (await queue.enqueue("child")).id


async def test_a_task_may_enqueue_others_within_the_grace_time_of_a_shutdown(
    home: DuckDBHome,
) -> None:
    queue, gate = home.queue(), Gate()
    _parent(queue, gate)
    async with queue:
        await queue.start_workers()
        parent = await queue.enqueue("parent")
        await gate.arrivals()
        closing = asyncio.create_task(queue.shutdown(timeout=PATIENCE))
        await asyncio.sleep(0)
        with pytest.raises(QueueClosedError, match="shutting down"):
            await queue.start_workers("other")
        gate.open()
        await closing
        info = await parent.info()
        assert TaskStatus.SUCCESS is info.status
        assert TaskStatus.PENDING is await queue.handle(info.result).status()


async def test_a_shutdown_goes_on_when_its_caller_gives_up(home: DuckDBHome) -> None:
    queue, gate = home.queue(), Gate()
    _parent(queue, gate)
    await queue.start_workers()
    parent = await queue.enqueue("parent")
    await gate.arrivals()
    impatient = asyncio.create_task(queue.shutdown(timeout=PATIENCE))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    gate.open()
    await queue.shutdown()
    async with home.queue() as other:  # the file is free
        info = await other.get_task_info(parent.id)
        assert info is not None
        assert TaskStatus.SUCCESS is info.status


async def test_an_opening_whose_caller_gives_up_leaves_the_file_free(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = home.queue()
    under_way, go_on = threading.Event(), threading.Event()
    open_sync = type(queue.storage).open_sync

    def slow(storage: object) -> None:
        under_way.set()
        assert go_on.wait(PATIENCE)
        open_sync(storage)

    monkeypatch.setattr(type(queue.storage), "open_sync", slow)
    opening = asyncio.create_task(queue.start_workers())
    await asyncio.to_thread(under_way.wait, PATIENCE)
    opening.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    monkeypatch.undo()
    async with home.queue() as other:
        assert other.storage.is_open


async def test_a_queue_works_alone_where_no_socket_can_be_made(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(server: Server) -> None:
        raise PermissionError("[Errno 1] Operation not permitted")

    monkeypatch.setattr(Server, "start", refuse)
    queue, gate = home.queue(), Gate()
    _parent(queue, gate)
    gate.open()
    async with queue:
        await queue.start_workers()
        [info] = await ended(queue, (await queue.enqueue("parent")).id)
        assert TaskStatus.SUCCESS is info.status
    assert "no socket can be made" in caplog.text


async def test_a_retry_by_hand_is_not_lost_to_a_cleanup_of_the_same_moment(
    home: DuckDBHome,
) -> None:
    queue = home.queue()

    @queue.register_task("bad")
    async def bad() -> None:
        raise OSError("no")

    async with queue:
        await queue.start_workers()
        [failed] = await ended(queue, (await queue.enqueue("bad")).id)
        await queue.shutdown()
        get, cleanings = queue.storage.get, []

        async def get_while_cleaning(task_id: str) -> TaskRecord | None:
            found: TaskRecord | None = await get(task_id)
            if not cleanings:
                cleanings.append(asyncio.create_task(queue.cleanup_old_tasks(days=0)))
                await asyncio.wait(cleanings, timeout=0.3)  # it has to wait for the retry
            return found

        await queue.get_task_stats()
        get = queue.storage.get
        queue.storage.get = get_while_cleaning
        assert await queue.retry_task(failed.id)
        assert 0 == await cleanings[0]
        queue.storage.get = get
        listed = await queue.get_tasks()
        assert [(failed.id, TaskStatus.PENDING)] == [(one.id, one.status) for one in listed]


def test_a_thread_that_waits_through_the_facade_is_let_go_when_it_is_closed(
    home: DuckDBHome,
) -> None:
    queue, gate = home.queue(), Gate()
    sync = queue.sync()
    outcome: list[BaseException] = []

    async def for_ever() -> None:
        await gate.wait()

    def wait() -> None:
        try:
            sync(for_ever)
        except BaseException as error:
            outcome.append(error)

    with sync:
        thread = threading.Thread(target=wait)
        thread.start()
        sync(gate.arrivals)
    thread.join(PATIENCE)
    assert ["QueueClosedError"] == [type(error).__name__ for error in outcome]
