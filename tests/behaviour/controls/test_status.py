"""Whether work flows, and what holds it back: ``queue.status()`` and ``queue.explain``."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from support.owners import client, end, start_owner, stopped
from support.queues import PATIENCE, DuckDBHome, Home, SteppableClock
from wopr import (
    InvalidCallError,
    ScheduleNotFoundError,
    Severity,
    State,
    Status,
    TaskNotFoundError,
    TaskQueue,
    chain,
)


def kinds(status: Status) -> list[str]:
    return [one.kind for one in status.reasons]


async def test_an_empty_queue_with_workers_flows(home: Home) -> None:
    async with home.queue() as queue:
        await queue.start_workers("default", 3)
        status = await queue.status()
        assert (State.FLOWING, (), 3, 0) == (
            status.state,
            status.reasons,
            status.workers,
            status.waiting,
        )
        assert os.getpid() == status.owner
        assert "Work flows: 3 workers, 0 tasks run, 0 tasks wait, 0 of them due." == str(status)


async def test_tasks_without_any_worker_are_stopped(home: Home) -> None:
    async with home.queue() as queue:

        @queue.task
        async def idle() -> None: ...

        await idle.enqueue()
        status = await queue.status()
        assert (State.STOPPED, 1, 1) == (status.state, status.waiting, status.due)
        assert ["no worker process"] == kinds(status)
        assert "wopr worker module:queue" in str(status)


async def test_each_category_and_name_that_waits_is_named_with_its_number(home: Home) -> None:
    async with home.queue() as queue:

        @queue.task(category="mail")
        async def send() -> None: ...

        @queue.task(category="sums")
        async def add() -> None: ...

        await send.enqueue_many([() for _ in range(3)])
        await add.enqueue()
        await add.options(delay=3600).enqueue()
        await queue.pause("sums", reason="Monday")
        await queue.start_workers("sums", 1)
        status = await queue.status()
        assert State.HELD is status.state
        assert [("no workers", 3), ("paused", 1)] == [
            (one.kind, one.tasks) for one in status.reasons
        ]
        assert "Monday" in status.reasons[1].text
        assert (5, 4) == (status.waiting, status.due)


async def test_a_name_without_a_function_is_named(durable_home: DuckDBHome) -> None:
    async with durable_home.queue() as queue:

        @queue.task(name="old name")
        async def old() -> None: ...

        await old.enqueue()
    async with durable_home.queue() as queue:

        @queue.task(name="new name")
        async def new() -> None: ...

        await queue.start_workers()
        status = await queue.status()
        assert ["unregistered"] == kinds(status)
        assert "'old name'" in status.reasons[0].text
        idle = await queue.explain(name="new name")
        assert ("nothing", "Tasks 'new name': none runs and none waits.") == (
            idle.reason,
            idle.text,
        )
        unknown = await queue.explain(name="new nmae")
        assert f"and no function of process {os.getpid()} has this name." in unknown.text
        assert "unregistered" == (await queue.explain(name="old name")).reason
        assert "unregistered" == (await queue.explain(category="default")).reason


async def test_a_limit_says_which_key_and_how_many_it_holds(home: Home) -> None:
    async with home.queue() as queue:
        go, began = asyncio.Event(), asyncio.Event()

        @queue.task
        async def fetch(host: str) -> None:
            began.set()
            await go.wait()

        await queue.set_limit("default", key="host", concurrency=1)
        await queue.start_workers("default", 3)
        handles = await fetch.enqueue_many([("a",)] * 4)
        await asyncio.wait_for(began.wait(), PATIENCE)
        [reason] = (await queue.status()).reasons
        assert ("limited", 3, Severity.WARNING) == (reason.kind, reason.tasks, reason.severity)
        assert ("host", '"a"') == (reason.about["key"], reason.about["value"])
        go.set()
        await asyncio.gather(*(one.result(PATIENCE) for one in handles))


async def test_what_fails_more_than_usual_is_grouped_as_in_the_view(
    durable_home: DuckDBHome,
) -> None:
    async with durable_home.queue() as queue:

        @queue.task(max_retries=0)
        async def fail(number: int) -> None:
            raise ValueError(f"no mailbox {number} at 0xAB12")

        await queue.start_workers("default", 2)
        handles = await fail.enqueue_many([(n,) for n in range(6)])
        for handle in handles:
            await queue.wait(handle.id, PATIENCE)
        [reason] = (await queue.status()).reasons
        assert ("failing", 6) == (reason.kind, reason.about["failures"])
        [row] = await queue.sql("select fingerprint, sample_task_id::varchar as id from failures")
        assert {"fingerprint": reason.about["fingerprint"], "id": reason.about["example"]} == row
        assert reason.command == f"wopr tasks history {row['id']} --traceback"


async def test_a_backlog_is_compared_with_what_was_usual_at_this_hour(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with durable_home.queue(clock=clock) as queue:

        @queue.task
        async def work() -> None: ...

        await queue.start_workers()
        for handle in await work.enqueue_many([() for _ in range(25)]):
            await queue.wait(handle.id, PATIENCE)
        clock.advance(24 * 3600, queue)
        await queue.pause("default")
        await work.enqueue()
        clock.advance(59, queue)
        assert ["paused"] == kinds(await queue.status())
        clock.advance(30, queue)
        status = await queue.status()
        assert ["paused", "backlog"] == kinds(status)
        assert 89 == status.reasons[1].about["seconds"]


async def test_a_schedule_whose_times_passed_says_which(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with durable_home.queue(clock=clock) as queue:

        @queue.task
        async def work() -> None: ...

        await queue.schedules.add("hourly", work, cron="0 * * * *")
        clock.advance(2 * 3600 + 600, queue)
        status = await queue.status()
        missed = next(one for one in status.reasons if one.kind == "missed")
        assert ["2030-05-17T13:00:00+00:00", "2030-05-17T14:00:00+00:00"] == missed.about["times"]
        assert "no worker process" == status.reasons[0].kind
        why = await queue.explain(schedule="hourly")
        assert "no scheduler" == why.reason
        assert "missed" in [one.kind for one in why.reasons]


async def test_a_schedule_that_nobody_fired_for_days_says_all_its_times(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with durable_home.queue(clock=clock) as queue:

        @queue.task
        async def work() -> None: ...

        await queue.schedules.add("nightly", work, cron="0 2 * * *")
        clock.advance(4 * 24 * 3600, queue)
        missed = next(one for one in (await queue.status()).reasons if one.kind == "missed")
        assert [f"2030-05-{day}T02:00:00+00:00" for day in (18, 19, 20, 21)] == missed.about[
            "times"
        ]
        assert "missed 4 times" in missed.text


async def test_times_whose_tasks_may_have_been_deleted_are_not_called_missed(
    durable_home: DuckDBHome, clock: SteppableClock
) -> None:
    async with durable_home.queue(clock=clock) as queue:

        @queue.task
        async def work() -> None: ...

        await queue.cancel_task((await work.enqueue()).id)
        await queue.schedules.add("nightly", work, cron="0 2 * * *")
        clock.advance(4 * 24 * 3600, queue)
        assert 1 == await queue.cleanup_old_tasks(2)
        missed = next(one for one in (await queue.status()).reasons if one.kind == "missed")
        assert ["2030-05-20T02:00:00+00:00", "2030-05-21T02:00:00+00:00"] == missed.about["times"]


async def test_a_flow_is_explained_by_those_of_its_tasks_that_could_go_on(
    durable_home: DuckDBHome,
) -> None:
    async with durable_home.queue() as queue:

        @queue.task(category="first")
        async def one() -> None: ...

        @queue.task(category="second")
        async def two() -> None: ...

        flow = await queue.enqueue_flow(chain(one.s(), two.si()))
        await queue.start_workers("second", 1)
        why = await queue.explain(flow=flow.id)
        assert ("no workers", 2, 1) == (why.reason, why.waiting, why.due)
        assert "first" == why.reasons[0].about["category"]
        await queue.start_workers("first", 1)
        await flow.wait(timeout=PATIENCE)
        assert "nothing" == (await queue.explain(flow=flow.id)).reason


async def test_what_there_is_not_is_refused_by_name(durable_home: DuckDBHome) -> None:
    async with durable_home.queue() as queue:
        for wanted in ("no id", "01890000-0000-7000-8000-000000000000"):
            with pytest.raises(TaskNotFoundError, match=wanted):
                await queue.explain(flow=wanted)
        with pytest.raises(ScheduleNotFoundError, match="nightly"):
            await queue.explain(schedule="nightly")
        with pytest.raises(InvalidCallError, match="takes the id of a task, or one of"):
            await queue.explain(category="a", name="b")  # type: ignore[call-overload]


# -- every state -----------------------------------------------------------------------


async def test_a_queue_without_a_file_says_so_and_makes_none(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none.duckdb")
    status = await queue.status()
    assert (State.STOPPED, ["no file"]) == (status.state, kinds(status))
    assert [] == list(tmp_path.iterdir())
    assert "nothing" == (await queue.explain(category="mail")).reason


async def test_a_queue_that_is_switched_off_says_so(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=False, database=tmp_path / "none.duckdb")
    assert ["switched off"] == kinds(await queue.status())


async def test_a_file_that_is_no_database_is_named_and_not_touched(tmp_path: Path) -> None:
    database = tmp_path / "tasks.duckdb"
    database.write_bytes(b"no database" * 1000)
    status = await TaskQueue(enabled=True, database=database).status()
    assert (State.STOPPED, ["file"], None) == (status.state, kinds(status), status.owner)
    assert b"no database" * 1000 == database.read_bytes()


async def test_a_file_that_is_gone_while_its_journal_lies_there_is_no_empty_queue(
    tmp_path: Path,
) -> None:
    (tmp_path / "tasks.duckdb.journal-1").write_bytes(b"")
    status = await TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb").status()
    assert "its journal lies there" in status.reasons[0].text


async def test_the_owner_in_another_process_answers(tmp_path: Path) -> None:
    database = tmp_path / "tasks.duckdb"
    owner = start_owner(database)
    try:
        async with client(database) as queue:
            status = await queue.status()
            assert (owner.pid, State.FLOWING) == (status.owner, status.state)
            assert "nothing" == (await queue.explain(name="double")).reason
    finally:
        end(owner)


async def test_an_owner_that_stands_still_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "tasks.duckdb"
    owner = start_owner(database)
    try:
        async with client(database) as queue:
            await queue.get_task_stats()
            monkeypatch.setattr("wopr.remote.questions.STATUS_SECONDS", 0.5)
            with stopped(owner):
                status = await queue.status()
            assert ["owner silent"] == kinds(status)
            assert f"kill -CONT {owner.pid}" in status.reasons[0].text
    finally:
        end(owner)


async def test_tables_that_do_not_answer_hide_nothing_that_memory_knows(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.insights.status.SECONDS", 0.1)
    async with durable_home.queue() as queue:
        await queue.start_workers()
        await queue.pause("mail")

        async def never(*arguments: object) -> None:
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(queue.storage, "query", never)
            patch.setattr("wopr.insights.status.GRACE", 0.1)
            status = await queue.status()
        assert (State.HELD, ["storage", "paused"]) == (status.state, kinds(status))
        assert "no answer within 0.2 s" in status.reasons[0].text


async def test_what_of_the_past_has_no_answer_is_told_as_that(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with durable_home.queue() as queue:
        await queue.start_workers()
        monkeypatch.setattr("wopr.insights.queries.USUAL_WAITS", "select error('too much')")
        status = await queue.status()
        assert (State.FLOWING, ["unanswered"]) == (status.state, kinds(status))
        assert "how long tasks wait" in status.reasons[0].text


async def test_a_status_says_of_when_it_is(durable_home: DuckDBHome, clock: SteppableClock) -> None:
    async with durable_home.queue(clock=clock) as queue:
        assert clock.time == (await queue.status()).moment
        assert timedelta(0) == (await queue.status()).moment.utcoffset()
