"""A task's log lines are kept with the task, up to a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome, Gate, ended, running, until, until_status
from wopr import Settings, TaskQueue, TaskStatus
from wopr.domain.logline import LogLine
from wopr.service import capture
from wopr.service.capture import keep_logs

logger = logging.getLogger("shop.orders")

OFTEN = 0.001


@pytest.fixture(autouse=True)
def _log_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]  # of what a level lets through


def keepers() -> list[capture._Keeper]:
    return [one for one in logging.getLogger().handlers if isinstance(one, capture._Keeper)]


@pytest.fixture
def queue(tmp_path: Path) -> TaskQueue:
    return DuckDBHome(tmp_path / "tasks.duckdb").queue(settings=Settings(log_lines=5))


@asynccontextmanager
async def kept(queue: TaskQueue, workers: int = 1) -> AsyncIterator[TaskQueue]:
    """Run the queue with workers, keeping what its tasks log."""
    async with running(queue, default=workers):
        stop = keep_logs(queue)
        try:
            yield queue
        finally:
            stop()


def texts(lines: list[LogLine]) -> list[str]:
    return [line.message for line in lines]


async def test_lines_are_there_when_the_attempt_has_ended(queue: TaskQueue) -> None:
    @queue.task(max_retries=1, retry=None)
    async def pay() -> None:
        logger.info("paying %d", 7)
        try:
            raise ValueError("too little")
        except ValueError:
            logger.exception("failed", extra={"customer": 9})
            raise

    async with kept(queue):
        handle = await pay.enqueue()
        await ended(queue, handle.id)
        lines = await queue.get_logs(handle.id)
        info = await queue.require_task_info(handle.id)
    assert [(1, 1), (1, 2), (2, 1), (2, 2)] == [(line.attempt, line.number) for line in lines]
    first, second = lines[:2]
    assert ("INFO", "shop.orders", "paying 7") == (first.level, first.logger, first.message)
    assert "ERROR" == second.level
    assert second.message.startswith("failed customer=9\nTraceback")
    assert second.message.endswith("ValueError: too little")
    assert info.created_at.replace(tzinfo=None) <= first.logged_at <= second.logged_at


async def test_lines_of_the_tasks_thread_are_kept(queue: TaskQueue) -> None:
    @queue.task
    def count() -> None:
        logger.info("in a thread")

    async with kept(queue):
        handle = await count.enqueue()
        await ended(queue, handle.id)
        assert ["in a thread"] == texts(await queue.get_logs(handle.id))


async def test_lines_are_saved_while_the_task_still_runs(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SAVE_SECONDS", OFTEN)
    gate = Gate()

    @queue.task
    async def wait() -> None:
        logger.info("before")
        await gate.wait()
        logger.info("after")

    async with kept(queue):
        handle = await wait.enqueue()
        lines = await until(lambda: queue.get_logs(handle.id), bool)
        assert (["before"], TaskStatus.STARTED) == (texts(lines), await handle.status())
        gate.open()
        await ended(queue, handle.id)
        assert ["before", "after"] == texts(await queue.get_logs(handle.id))


async def test_nothing_is_planned_while_nothing_is_logged(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SAVE_SECONDS", OFTEN)

    @queue.task
    async def talk() -> None:
        logger.info("a line")

    async with kept(queue):
        (keeper,) = keepers()
        handle = await talk.enqueue()
        await ended(queue, handle.id)

        async def armed() -> bool:
            return keeper._armed

        await until(armed, lambda seen: not seen)
        assert keeper._timer is not None
        assert keeper._timer.when() <= asyncio.get_running_loop().time()
        again = await talk.enqueue()
        await ended(queue, again.id)
        assert ["a line"] == texts(await queue.get_logs(again.id))


@pytest.mark.parametrize("form", ["coroutine", "thread"])
@pytest.mark.parametrize(
    ("said", "last"),
    [
        (5, "line 5"),
        (6, "… 1 more line was not kept"),
        (1_205, "… 1,200 more lines were not kept"),
    ],
)
async def test_what_is_over_the_limit_is_counted(
    queue: TaskQueue, form: str, said: int, last: str
) -> None:
    def say() -> None:
        for number in range(1, said + 1):
            logger.info("line %d", number)

    async def say_in_loop() -> None:
        say()

    task: Any = queue.task(say if form == "thread" else say_in_loop)
    async with kept(queue):
        handle = await task.enqueue()
        await ended(queue, handle.id)
        lines = await queue.get_logs(handle.id)
    assert ["line 1", "line 2", "line 3", "line 4", "line 5"] == texts(lines)[:5]
    assert last == lines[-1].message
    assert min(said, 6) == len(lines) == lines[-1].number


async def test_a_task_that_goes_on_is_not_concluded_early(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SAVE_SECONDS", OFTEN)
    gate = Gate()

    @queue.task
    async def chatty() -> None:
        for number in range(7):
            logger.info("line %d", number)
        await gate.wait()
        logger.info("another")

    async with kept(queue):
        handle = await chatty.enqueue()
        await until(lambda: queue.get_logs(handle.id), lambda lines: len(lines) == 5)
        gate.open()
        await ended(queue, handle.id)
        assert "… 3 more lines were not kept" == (await queue.get_logs(handle.id))[-1].message


async def test_an_attempt_is_concluded_at_its_end_though_all_its_lines_are_saved(
    queue: TaskQueue,
) -> None:
    gate = Gate()

    @queue.task
    async def chatty() -> None:
        for number in range(7):
            logger.info("line %d", number)
        await gate.wait()

    async with kept(queue):
        handle = await chatty.enqueue()
        await gate.arrivals()
        keepers()[0]._save()
        gate.open()
        await ended(queue, handle.id)
        assert "… 2 more lines were not kept" == (await queue.get_logs(handle.id))[-1].message


async def test_an_attempt_has_64_kib(queue: TaskQueue) -> None:
    @queue.task
    async def long() -> None:
        for letter in "abcde":
            logger.info(letter * 16_000)
        logger.info("short")

    async with kept(queue):
        handle = await long.enqueue()
        await ended(queue, handle.id)
        lines = await queue.get_logs(handle.id)
    assert ["a", "b", "c", "d", "…"] == [line.message[0] for line in lines]
    assert "… 2 more lines were not kept" == lines[-1].message
    assert 65_536 >= sum(len(line.message) for line in lines[:-1])


async def test_one_long_line_is_cut_after_its_secrets_are_gone(queue: TaskQueue) -> None:
    @queue.task
    async def long() -> None:
        logger.info("password='%s' end", "hunter2" * 5_000)
        logger.info("%s token=hunter2", "x" * 50_000)

    async with kept(queue):
        handle = await long.enqueue()
        await ended(queue, handle.id)
        first, second = texts(await queue.get_logs(handle.id))
    assert "password='***' end" == first
    assert "bytes cut" in second
    assert second.endswith("x token=***")


async def test_only_what_a_task_of_this_queue_logs_is_kept(
    queue: TaskQueue, tmp_path: Path
) -> None:
    other = DuckDBHome(tmp_path / "other.duckdb").queue()

    def talk() -> None:
        logger.info("said")

    queue.register_task("talk")(talk)
    other.register_task("talk")(talk)
    async with kept(queue), running(other, default=1):
        logger.info("outside of any task")
        mine, theirs = await queue.add_task("talk"), await other.add_task("talk")
        await ended(queue, mine)
        await ended(other, theirs)
        count = await queue.sql("select count(*) from task_logs")
        assert (1, ["said"]) == (count.scalar(), texts(await queue.get_logs(mine)))
        assert [] == await other.get_logs(theirs)


async def test_what_a_stopped_task_says_at_its_end_is_kept(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SAVE_SECONDS", OFTEN)
    gate = Gate()

    @queue.task
    async def clean_up() -> None:
        try:
            await gate.wait()
        finally:
            logger.info("cleaning up")

    async with kept(queue):
        handle = await clean_up.enqueue()
        await gate.arrivals()
        await queue.cancel_task(handle.id)
        lines = await until(lambda: queue.get_logs(handle.id), bool)
        assert ["cleaning up"] == texts(lines)
        again = await clean_up.enqueue()
        await gate.arrivals(2)
        await queue.shutdown(timeout=0)
        assert ["cleaning up"] == texts(await queue.get_logs(again.id))
        assert TaskStatus.PENDING is (await queue.require_task_info(again.id)).status


async def test_a_line_that_can_not_be_formatted_harms_nobody(queue: TaskQueue) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    @queue.task
    async def talk() -> str:
        logger.info("%d", "many")
        logger.info(Broken())
        return "done"

    raise_exceptions, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        async with kept(queue):
            handle = await talk.enqueue()
            assert "done" == await handle.result(timeout=PATIENCE)
            assert ["can't be formatted"] * 2 == [
                text[text.index("can't") :][:18] for text in texts(await queue.get_logs(handle.id))
            ]
    finally:
        logging.raiseExceptions = raise_exceptions


async def test_after_its_end_nothing_is_kept(queue: TaskQueue) -> None:
    @queue.task
    async def talk() -> None:
        logger.info("said")

    async with running(queue, default=1):
        stop: Callable[[], None] = keep_logs(queue)
        stop()
        handle = await talk.enqueue()
        await ended(queue, handle.id)
        assert ([], []) == (await queue.get_logs(handle.id), keepers())


async def test_no_lines_means_no_handler(tmp_path: Path) -> None:
    queue = DuckDBHome(tmp_path / "tasks.duckdb").queue(settings=Settings(log_lines=0))
    async with queue:
        keep_logs(queue)
        assert [] == keepers()


async def test_a_queue_that_was_shut_down_goes_on_keeping(queue: TaskQueue) -> None:
    @queue.task
    async def talk() -> None:
        logger.info("said")

    async with kept(queue):
        await queue.shutdown()
        await queue.start_workers()
        handle = await talk.enqueue()
        await ended(queue, handle.id)
        await until_status(queue, handle.id, TaskStatus.SUCCESS)
        assert ["said"] == texts(await queue.get_logs(handle.id))
