"""A look at a database without a queue makes none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from support.commands import call
from support.postgres import need_server, new_database
from wopr import StorageError, TaskQueue
from wopr.domain.address import PostgresAddress

COMMANDS = (
    "status",
    "tasks list",
    "schedules list",
    "pause mail",
    "explain --category mail",
    "token create laptop --role read",
    "web --listen 127.0.0.1:0",
    "mcp",
    "doctor",
    "cleanup --days 1",
)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """Return the address of a database without a queue; it has none afterwards either."""
    need_server()
    address = new_database(f"wopr_{uuid4().hex}")
    yield address
    assert not has_tables(address)


def has_tables(address: str) -> bool:
    with psycopg.connect(PostgresAddress(address).conninfo) as connection:
        row = connection.execute("select from pg_namespace where nspname = 'wopr'").fetchone()
    return row is not None


async def test_reads_answer_empty(nowhere: str) -> None:
    queue = TaskQueue(enabled=True, database=nowhere)
    assert [] == await queue.get_tasks()
    assert 0 == (await queue.get_task_stats())["total"]
    assert [] == await queue.schedules.list()
    assert 0 == await queue.tasks.where(name="mail").count()
    found = await queue.status()
    assert ["no tables"] == [one.kind for one in found.reasons]
    with pytest.raises(StorageError, match="wopr db upgrade -d"):
        await queue.sql("select 1")
    await queue.shutdown()


async def test_the_first_task_makes_the_tables_and_who_looked_before_sees_it() -> None:
    need_server()
    address = new_database(f"wopr_{uuid4().hex}")
    looking = TaskQueue(enabled=True, database=address)
    assert [] == await looking.get_tasks()
    async with TaskQueue(enabled=True, database=address) as queue:
        queue.task(name="mail")(lambda: None)
        await queue.enqueue("mail")
        assert ["mail"] == [one.name for one in await looking.get_tasks()]
    await looking.shutdown()


def test_commands_say_that_there_is_no_queue_and_what_makes_one(nowhere: str) -> None:
    named = shlex.quote(PostgresAddress(nowhere).named)
    for command in COMMANDS:
        answer = call(*command.split(), "--database", nowhere)
        said = answer.out + answer.err
        assert (3, True, True) == (
            answer.code,
            "There is no queue in" in said,
            f"wopr db upgrade -d {named}" in said,
        ), (command, said)
