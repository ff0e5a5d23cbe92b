"""Tasks that were kept long enough retire by rules: in portions, noted, seen in the status."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.parquet import ids
from support.queues import SteppableClock, ended, until
from wopr import Settings, TaskQueue, TaskStatus
from wopr.engine import keeping
from wopr.engine.keeping import Keeping
from wopr.queue.queue import inside

DAY = 86_400


def queue_of(tmp_path: Path, clock: SteppableClock, **rules: Any) -> TaskQueue:
    queue = TaskQueue(
        enabled=True, database=tmp_path / "t.duckdb", settings=Settings(**rules), clock=clock
    )

    @queue.task(name="say")
    async def say(number: int) -> int:
        return number

    @queue.task(name="fail", max_retries=0)
    async def fail(number: int) -> None:
        raise ValueError(f"number {number}")

    return queue


async def fill(queue: TaskQueue) -> dict[str, list[str]]:
    """Have four tasks of each of two categories end, half of them as failures; cancel one."""
    found: dict[str, list[str]] = {}
    for category in ("mail", "sums"):
        await queue.start_workers(category, 2)
        for name in ("say", "fail"):
            added = [await queue.enqueue(name, (one,), category=category) for one in range(2)]
            found[f"{category} {name}"] = [one.id for one in added]
    later = await queue.enqueue("say", (9,), delay=60)
    await queue.cancel_task(later.id)
    found["cancelled"] = [later.id]
    await ended(queue, *(one for some in found.values() for one in some))
    return found


def keeping_of(queue: TaskQueue) -> Keeping:
    engine = inside(queue).access.engine
    assert engine is not None
    return engine.keeping


async def left(queue: TaskQueue) -> set[str]:
    return {one.id for one in await queue.get_tasks()}


async def test_each_status_and_category_has_its_time_and_its_end(tmp_path: Path) -> None:
    clock = SteppableClock()
    rules = {
        "archive": tmp_path / "old",
        "keep_success": "3d",
        "keep_failed": "7d delete",
        "keep_categories": {"mail": {"success": "1d delete", "failed": "forever"}},
    }
    async with queue_of(tmp_path, clock, **rules) as queue:
        tasks = await fill(queue)
        everything = {one for some in tasks.values() for one in some}
        await keeping_of(queue).round()
        assert everything == await left(queue)
        clock.advance(2 * DAY)
        await keeping_of(queue).round()
        assert everything - {*tasks["mail say"]} == await left(queue)
        clock.advance(2 * DAY)
        await keeping_of(queue).round()
        assert sorted(tasks["sums say"]) == ids(tmp_path / "old")
        clock.advance(30 * DAY)
        await keeping_of(queue).round()
        assert {*tasks["mail fail"], *tasks["cancelled"]} == await left(queue)
        assert sorted(tasks["sums say"]) == ids(tmp_path / "old")


async def test_what_left_is_noted_as_acts_and_seen_in_the_status(tmp_path: Path) -> None:
    clock = SteppableClock()
    rules = {"archive": tmp_path / "old", "keep_success": "1d", "keep_cancelled": "1d delete"}
    async with queue_of(tmp_path, clock, **rules) as queue:
        await fill(queue)
        clock.advance(3 * DAY)
        await keeping_of(queue).round()
        acts = [one for one in await queue.acts() if one.verb == "retire"]
        assert [4, 1] == [one.changed for one in acts]
        assert '"then": "archived"' in acts[0].detail
        kept = (await queue.status()).kept
        assert kept is not None
        assert (4, 1, clock.now(), None) == (kept.archived, kept.deleted, kept.last, kept.trouble)
        assert ("cancelled 1 d, then deleted", "success 1 d, then archived") == kept.rules
        assert "4 archived and 1 deleted by this process" in str(await queue.status())


async def test_times_whose_tasks_left_are_not_called_missed(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with queue_of(tmp_path, clock, keep_cancelled="2d") as queue:
        await queue.cancel_task((await queue.enqueue("say", (1,))).id)
        await queue.schedules.add("nightly", "say", args=(1,), cron="0 2 * * *")
        clock.advance(4 * DAY, queue)
        await keeping_of(queue).round()
        assert not await left(queue)
        missed = next(one for one in (await queue.status()).reasons if one.kind == "missed")
        first, *_, last = missed.about["times"]
        assert ("2030-05-19T02:00:00+00:00", "2030-05-21T02:00:00+00:00") == (first, last)


async def test_what_can_not_leave_stays_and_the_status_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppableClock()
    (tmp_path / "old").write_text("a file")
    rules = {"archive": tmp_path / "old", "keep_success": "1d"}
    async with queue_of(tmp_path, clock, **rules) as queue:
        await fill(queue)
        clock.advance(3 * DAY)
        before = await left(queue)
        for _ in range(2):
            await keeping_of(queue).round()
        assert before == await left(queue)
        [reason] = [one for one in (await queue.status()).reasons if one.kind == "keeping"]
        assert f"{tmp_path / 'old'} is a file, not a directory" in reason.text
        assert 1 == sum("kept long enough" in one.message for one in caplog.records)
        (tmp_path / "old").unlink()
        await keeping_of(queue).round()
        assert [] == [one for one in (await queue.status()).reasons if one.kind == "keeping"]
        assert 4 == len(ids(tmp_path / "old"))


async def test_the_owner_does_it_by_itself_in_a_quiet_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "EVERY_SECONDS", 0.01)
    clock = SteppableClock()
    async with queue_of(tmp_path, clock, keep_success="1d") as queue:
        await fill(queue)
        clock.advance(3 * DAY)
        stats = await until(queue.get_task_stats, lambda seen: "success" not in seen["by_status"])
        assert 5 == stats["total"]
    assert not [one for one in asyncio.all_tasks() if "Keeping" in repr(one)]


async def test_it_goes_on_after_any_error_and_a_shutdown_hears_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(keeping, "EVERY_SECONDS", 0.01)
    clock = SteppableClock()
    tries = 0

    async def refuse(*_: Any, **__: Any) -> int:
        nonlocal tries
        tries += 1
        raise OSError(5, "Input/output error")

    async with queue_of(tmp_path, clock, keep_success="1d") as queue:
        monkeypatch.setattr(queue.storage, "retire", refuse)

        async def tried() -> int:
            return tries

        await until(tried, lambda found: found >= 3)
        [reason] = [one for one in (await queue.status()).reasons if one.kind == "keeping"]
        assert "Input/output error" in reason.text


async def test_without_rules_nothing_leaves_and_nothing_is_told(tmp_path: Path) -> None:
    clock = SteppableClock()
    async with queue_of(tmp_path, clock) as queue:
        await fill(queue)
        clock.advance(10_000 * DAY)
        await keeping_of(queue).round()
        assert 9 == (await queue.get_task_stats())["total"]
        assert (await queue.status()).kept is None
        assert TaskStatus.SUCCESS.value in (await queue.get_task_stats())["by_status"]
