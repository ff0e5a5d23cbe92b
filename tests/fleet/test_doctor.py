"""``wopr doctor`` of a queue on PostgreSQL: clean after all that happens, and each damage found."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import psycopg
import pytest

from support.commands import call
from support.postgres import new_database
from support.queues import PATIENCE, PostgresHome, ended, until_status
from wopr import Snooze, TaskQueue, TaskStatus, group
from wopr.domain.address import PostgresAddress
from wopr.domain.errors import SchemaError, StorageError
from wopr.domain.examination import Problem
from wopr.storage.postgres.doctor import check

NOBODY = "f0000000-0000-7000-8000-000000000000"


async def used(queue: TaskQueue) -> dict[str, str]:
    """Let one of everything happen; return the ids of some tasks."""
    bad = [1]

    @queue.task(name="flaky", max_retries=2, retry=None)
    async def flaky(text: str) -> str:
        if bad:
            bad.pop()
            raise ValueError(text)
        return text

    @queue.task(name="fails", max_retries=0)
    async def fails() -> None:
        raise ValueError("it always does")

    @queue.task(name="sleepy")
    async def sleepy() -> None:
        if not snoozed:
            snoozed.append(1)
            raise Snooze(0.01)

    snoozed: list[int] = []
    async with queue:
        first = await flaky.options(unique_key="one").enqueue("nul \0, and é")
        failed = await fails.enqueue()
        slept = await sleepy.enqueue()
        parent = await flaky.options(delay=3600).enqueue("later")
        child = await flaky.options(depends_on=[parent]).enqueue("after it")
        flow = await queue.enqueue_flow(group(flaky.s("a"), flaky.s("b")))
        await queue.start_workers("default", 2)
        await ended(queue, first.id, failed.id, slept.id)
        await flow.wait(timeout=PATIENCE)
        assert await queue.retry_task(failed.id)
        await until_status(queue, failed.id, TaskStatus.FAILED)
        await queue.pause("default")
        moved = await flaky.enqueue("moved")
        await queue.tasks.where(ids=moved.id).move("other")
        await queue.cancel_task(moved.id)
    return {"first": first.id, "failed": failed.id, "parent": parent.id, "child": child.id}


def damaged(home: PostgresHome, *statements: str, **values: Any) -> list[tuple[str, str | None]]:
    """Change the tables behind wopr's back; return what the doctor finds, and undo it."""
    conninfo = PostgresAddress(home.address).conninfo
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create schema saved")
        for table in ("tasks", "transitions", "awaits", "owners", "rules"):
            connection.execute(f"create table saved.{table} as table wopr.{table}")
        try:
            for statement in statements:
                connection.execute(statement, values or None)
            found = problems(home)
        finally:
            for table in ("tasks", "transitions", "awaits", "owners", "rules"):
                names = connection.execute(
                    "select string_agg(attname, ', ') from pg_attribute where attrelid = "
                    f"'wopr.{table}'::regclass and attnum > 0 and attgenerated = ''"
                ).fetchone()
                assert names is not None
                connection.execute(f"truncate wopr.{table}")
                connection.execute(
                    f"insert into wopr.{table} ({names[0]}) select {names[0]} from saved.{table}"
                )
            connection.execute("drop schema saved cascade")
    return [(one.kind, one.task_id) for one in found]


def problems(home: PostgresHome) -> list[Problem]:
    return check(PostgresAddress(home.address))[0].problems


async def test_each_damage_is_found(shared: PostgresHome) -> None:
    ids = await used(shared.queue())
    report, moment = await asyncio.to_thread(check, PostgresAddress(shared.address))
    assert [] == report.problems
    assert (8, True) == (report.tasks, 25 < report.transitions)
    assert isinstance(moment, datetime)
    first, child, parent = ids["first"], ids["child"], ids["parent"]
    cases: list[tuple[str, str | None, str]] = [
        ("row differs", first, "update wopr.tasks set attempt = 9 where id = %(first)s"),
        ("row differs", first, "update wopr.tasks set result = '1' where id = %(first)s"),
        ("no history", first, "delete from wopr.transitions where task_id = %(first)s"),
        ("no row", child, "delete from wopr.tasks where id = %(child)s"),
        (
            "illegal move",
            first,
            "delete from wopr.transitions where task_id = %(first)s and to_status = 'retry'",
        ),
        ("waits", child, "delete from wopr.awaits"),
        ("waits", child, "update wopr.tasks set awaited = false where id = %(parent)s"),
        ("waits", child, "delete from wopr.tasks where id = %(parent)s"),
        ("unreadable", None, "insert into wopr.rules values ('limit', 'x', '{}', now())"),
        (
            "lease",
            parent,
            "insert into wopr.owners (host, pid, lease_until) values ('a', 1, 'infinity'); "
            "update wopr.tasks set status = 'started', started_at = '2026-01-01' where id = "
            f"'{parent}'",
        ),
    ]
    for kind, task_id, statement in cases:
        values = {} if ";" in statement else {"first": first, "child": child, "parent": parent}
        found = await asyncio.to_thread(damaged, shared, statement, **values)
        assert (kind, task_id) in found, (statement, found)
    assert [] == await asyncio.to_thread(problems, shared)


async def test_the_command_says_what_it_found(shared: PostgresHome) -> None:
    ids = await used(shared.queue())
    answer = await asyncio.to_thread(call, "doctor", "--database", shared.address)
    assert (0, True) == (answer.code, "all is well" in answer.out)
    values = {"first": ids["first"]}

    def looked() -> Any:
        with psycopg.connect(PostgresAddress(shared.address).conninfo) as connection:
            connection.execute("update wopr.tasks set attempt = 9 where id = %(first)s", values)
            connection.commit()
        return call("doctor", "--json", "--database", shared.address)

    answer = await asyncio.to_thread(looked)
    assert 1 == answer.code
    assert ["row differs"] == [one["kind"] for one in answer.json["problems"]]


def test_a_database_without_a_queue_is_told(shared: PostgresHome) -> None:
    address = PostgresAddress(new_database("wopr_none"))
    with pytest.raises(SchemaError, match="no queue in"):
        check(address)
    with pytest.raises(StorageError, match="Is the server up"):
        check(PostgresAddress("postgresql://me@127.0.0.1:1/none"))
