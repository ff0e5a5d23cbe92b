"""After a deploy: a call that no longer fits its function waits, and runs once it fits again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from support.queues import DuckDBHome, Home, ended, running, until, until_status
from wopr import TaskQueue, TaskStatus
from wopr.storage.duckdb.doctor import check
from wopr.testing import drain

PENDING, SUCCESS, CANCELLED = TaskStatus.PENDING, TaskStatus.SUCCESS, TaskStatus.CANCELLED


def first(number: int, word: str = "") -> str:
    return f"first {number}{word}"


def asks_for_more(number: int, day: date) -> str:
    return f"more {number}"


def asks_for_less() -> str:
    return "less"


def asks_for_another_type(number: date, word: str = "") -> str:
    return f"other {number}"


def asks_by_another_name(count: int) -> str:
    return f"named {count}"


def fits_again(number: int, word: str = "", day: date | None = None) -> str:
    return f"again {number}"


CHANGED: dict[str, tuple[Callable[..., str], str]] = {
    "an argument is missing": (asks_for_more, "missing a required argument: 'day'"),
    "there is one too many": (asks_for_less, "too many positional arguments"),
    "a value is no longer valid": (asks_for_another_type, "must be date, not int"),
    "an argument is called otherwise": (
        asks_by_another_name,
        "missing a required argument: 'count'",
    ),
}


def deployed(home: Home, function: Callable[..., Any], **options: Any) -> TaskQueue:
    queue = home.queue()
    queue.register_task("job", **options)(function)
    queue.register_task("other")(lambda: "done")
    return queue


async def enqueued(home: Home, *, by_keyword: bool = False, count: int = 1) -> list[str]:
    async with deployed(home, first, max_retries=3) as queue:
        call: dict[str, Any] = {"number": 1} if by_keyword else {}
        args = () if by_keyword else (1,)
        return [
            await queue.add_task("job", "default", None, None, *args, **call) for _ in range(count)
        ]


async def until_unfit(queue: TaskQueue, *task_ids: str) -> None:
    for task_id in task_ids:
        await until(
            lambda one=task_id: queue.explain(one),  # type: ignore[misc]
            lambda seen: seen.reason == "does not fit",
        )


@pytest.mark.parametrize("kind", CHANGED)
async def test_what_does_not_fit_waits_and_says_why(
    home: Home, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    function, reason = CHANGED[kind]
    [task_id] = await enqueued(home, by_keyword=function is asks_by_another_name)
    queue = deployed(home, function, max_retries=3)
    async with running(queue, default=1):
        await until_unfit(queue, task_id)
        [other] = await ended(queue, await queue.add_task("other"))
        said = await queue.explain(task_id)
        info = await queue.get_task_info(task_id)
        stats = await queue.get_task_stats()
        [listed] = await queue.get_tasks(status=PENDING)
    assert "done" == other.result
    assert info is not None
    assert (PENDING, 0) == (info.status, info.retry_count)
    assert reason in str(info.error)
    assert info.error == listed.error
    assert reason in said.text
    assert f"wopr tasks retry {task_id}" in said.text
    assert f"wopr tasks cancel {task_id}" in said.text
    [held] = stats["held"]
    assert ("does not fit", ["job"], 1) == (held["reason"], held["tasks"], held["count"])
    assert "Tasks 'job' that do not fit the function of this name: 1." == held["text"]
    [error] = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert reason in error


async def test_it_runs_after_a_deploy_that_it_fits_again(home: Home) -> None:
    ids = await enqueued(home, count=3)
    queue = deployed(home, asks_for_more)
    async with running(queue, default=1):
        await until_unfit(queue, *ids)
    queue = deployed(home, asks_for_more)  # the process starts again: it is still so
    async with running(queue, default=1):
        await ended(queue, await queue.add_task("other"))
        await until_unfit(queue, *ids)
    queue = deployed(home, fits_again)
    async with running(queue, default=1):
        infos = await ended(queue, *ids)
        assert "held" not in await queue.get_task_stats()
    assert {(SUCCESS, "again 1", None)} == {(one.status, one.result, one.error) for one in infos}


async def test_what_still_does_not_fit_is_not_even_tried_at_the_next_start(
    durable_home: DuckDBHome,
) -> None:
    [task_id] = await enqueued(durable_home)
    async with running(deployed(durable_home, asks_for_more), default=1) as queue:
        await until_unfit(queue, task_id)
        before = await queue.get_history(task_id)
    async with running(deployed(durable_home, asks_for_more), default=1) as queue:
        await ended(queue, await queue.add_task("other"))
        assert "does not fit" == (await queue.explain(task_id)).reason
        assert before == await queue.get_history(task_id)
    assert ["add", "claim", "does not fit the function"] == [entry.reason for entry in before]


async def test_a_function_that_is_registered_later_gets_it(home: Home) -> None:
    [task_id] = await enqueued(home)
    queue = deployed(home, asks_for_more)
    async with running(queue, default=1):
        await until_unfit(queue, task_id)
    queue = home.queue()
    async with running(queue, default=1):
        assert "does not fit" == (await queue.explain(task_id)).reason
        queue.register_task("job")(fits_again)
        [info] = await ended(queue, task_id)
    assert (SUCCESS, "again 1") == (info.status, info.result)


async def test_it_can_be_tried_again_and_cancelled(home: Home) -> None:
    one, other = await enqueued(home, count=2)
    queue = deployed(home, asks_for_more)
    async with running(queue, default=1):
        await until_unfit(queue, one, other)
        assert await queue.retry_task(one)
        await until(
            lambda: queue.get_task_info(one), lambda info: info is not None and info.attempt == 2
        )
        await until_unfit(queue, one)
        assert await queue.cancel_task(other)
        await until_status(queue, other, CANCELLED)
        assert 1 == (await queue.get_task_stats())["held"][0]["count"]
        assert await queue.cancel_task(one)
        assert "held" not in await queue.get_task_stats()
        assert not await queue.retry_task(one)


async def test_calls_that_fit_pass_those_that_do_not(home: Home) -> None:
    old = await enqueued(home, count=20)
    queue = deployed(home, asks_for_more)
    async with running(queue, default=2):
        new = [await queue.add_task("job", number=n, day=date(2030, 1, 1)) for n in range(5)]
        infos = await ended(queue, *new)
        await until_unfit(queue, *old)
    assert {SUCCESS} == {info.status for info in infos}


async def test_children_wait_for_a_parent_that_does_not_fit(home: Home) -> None:
    async with deployed(home, first) as queue:
        parent = await queue.enqueue("job", (1,))
        child = await queue.enqueue("other", depends_on=[parent])
    queue = deployed(home, asks_for_more)
    async with running(queue, default=1):
        await until_unfit(queue, parent.id)
        assert "waiting for parents" == (await queue.explain(child.id)).reason
    queue = deployed(home, fits_again)
    async with running(queue, default=1):
        infos = await ended(queue, parent.id, child.id)
    assert [SUCCESS, SUCCESS] == [info.status for info in infos]


async def test_one_that_depends_on_others_waits_as_well(home: Home) -> None:
    async with deployed(home, first) as queue:
        parent = await queue.enqueue("other")
        child = await queue.enqueue("job", (1,), depends_on=[parent])
    for _ in range(2):
        queue = deployed(home, asks_for_more)
        async with running(queue, default=1):
            await ended(queue, parent.id)
            await until_unfit(queue, child.id)
    queue = deployed(home, fits_again)
    async with running(queue, default=1):
        [info] = await ended(queue, child.id)
    assert (SUCCESS, "again 1") == (info.status, info.result)


async def test_log_and_tables_agree_about_it(durable_home: DuckDBHome) -> None:
    [task_id] = await enqueued(durable_home)
    queue = deployed(durable_home, asks_for_more)
    async with running(queue, default=1):
        await until_unfit(queue, task_id)
        found = await queue.sql(
            "select name, count(*) as n from tasks where error_type = 'DoesNotFit' group by name"
        )
        assert [{"name": "job", "n": 1}] == list(found)
        [due] = await queue.sql("select coalesce(sum(due), 0)::int as due from backlog")
        assert 0 == due["due"]
    assert () == tuple(check(durable_home.path).problems)


async def test_draining_ends_beside_it(home: Home) -> None:
    [task_id] = await enqueued(home)
    async with deployed(home, asks_for_more) as queue:
        assert [task_id] == [info.id for info in await drain(queue)]
        assert [] == await drain(queue)
        assert "does not fit" == (await queue.explain(task_id)).reason
