"""What is enqueued is stored as it was given, in order and once, in bulk and one by one."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from support.queues import PostgresHome, until
from wopr import TaskPriority, TaskQueue
from wopr.domain.newtask import NewTask
from wopr.fleet import growth
from wopr.queue.queue import inside
from wopr.storage.postgres.arrays import array_of

ODD: list[Any] = [
    *(
        "",
        "NULL",
        "null",
        "{}",
        "{a,b}",
        '"',
        "\\",
        '\\"',
        "\\\\u0000",
        "a\0b",
        "'",
        "%(id)s",
        "%%",
    ),
    *("\n\t ", "é漢字🙂", "\\x41", ',"kwargs":', '"args":[1],"kwargs":{}', "$1", ":a", "$$"),
]


def echoing(queue: TaskQueue) -> Any:
    """Give a queue a task with an option, and arguments of both kinds."""

    @queue.task(name='say "so"', max_retries=2)
    async def say(word: str, *, loud: bool = False) -> str:
        return word.upper() if loud else word

    return say


async def stored(queue: TaskQueue, ids: list[str]) -> list[tuple[Any, ...]]:
    """Return what the tables say about tasks, in order: the row, and its first transition."""
    found = []
    for task_id in ids:
        info = await queue.require_task_info(task_id)
        [added] = await queue.get_history(task_id)
        found.append((info.args, info.kwargs, added.reason))
    return found


async def test_odd_words_arrive_as_they_were_sent(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        say = echoing(queue)
        bulk = [one.id for one in await say.enqueue_many([(word,) for word in ODD])]
        alike = [one.id for one in await say.enqueue_many([('"\\',)] * 3)]
        named = [one.id for one in await say.enqueue_many([{"word": word} for word in ODD])]
        lone = [(await say.enqueue(word, loud=True)).id for word in ODD]
        assert [((word,), {}, "add") for word in ODD] == await stored(queue, bulk)
        assert [(('"\\',), {}, "add")] * 3 == await stored(queue, alike)
        assert [((), {"word": word}, "add") for word in ODD] == await stored(queue, named)
        assert [((word,), {"loud": True}, "add") for word in ODD] == await stored(queue, lone)
        rows = await queue.sql("select id::text as id from tasks order by place")
        assert [*bulk, *alike, *named, *lone] == [row["id"] for row in rows]
        said = await queue.sql("select distinct data::json ->> 'name' from transitions")
        assert 'say "so"' == said.scalar()


async def test_history_says_the_same_of_bulk_and_lone_tasks(shared: PostgresHome) -> None:
    options: Any = {"priority": TaskPriority.HIGH, "tags": ["a"], "delay": 3600}
    async with shared.queue() as queue:
        say = echoing(queue).options(**options)
        await say.enqueue("one")
        await say.enqueue_many([("one",), ("one",)])
        keyed = say.task.options(**options, unique_key="k")
        await keyed.enqueue("one")
        data = [json.loads(row["data"]) for row in await queue.sql("select data from transitions")]
        columns = "name, category, priority, max_retries, args, kwargs, options, waiting"
        rows = await queue.sql(f"select distinct {columns} from tasks")
    assert 1 == len(rows)
    for one in data:
        one.pop("run_at")
        one.pop("unique_key", None)
    assert 4 == len(data)
    assert all(one == data[0] for one in data)


async def test_a_call_that_is_repeated_is_no_second_task(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        echoing(queue)
        core = inside(queue)
        first = await queue.enqueue('say "so"', ("a",))
        given = core.new_task('say "so"', ("a",), {}, {})
        given.id = first.id
        other = core.new_task('say "so"', ("b",), {}, {})

        async def add(tasks: list[NewTask]) -> list[str]:
            return await core.change(lambda backend: backend.add_many(tasks))

        assert [first.id] == await add([given])
        [again, new] = await add([given, other])
        assert (first.id, True) == (again, new != first.id)
        assert 2 == (await queue.get_task_stats())["total"]


async def test_callers_at_once_get_a_task_each_but_one_per_key(shared: PostgresHome) -> None:
    async with shared.queue() as queue:
        say = echoing(queue)
        keyed = say.options(unique_key="k")
        handles = await asyncio.gather(
            *(say.enqueue(str(number)) for number in range(50)),
            *(keyed.enqueue("x") for _ in range(3)),
            *(say.enqueue(str(number)) for number in range(50)),
        )
        assert 101 == (await queue.get_task_stats())["total"]
    assert 101 == len({one.id for one in handles})


async def test_the_server_learns_how_large_young_tables_have_become(
    shared: PostgresHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "FIRST_LOOK", 20)
    async with shared.queue() as queue:
        await echoing(queue).enqueue_many([("a",)] * 30)

        async def known() -> Any:
            asked = "select reltuples from pg_class where oid = 'wopr.tasks'::regclass"
            return (await queue.sql(asked)).scalar()

        assert 30 == await until(known, lambda rows: rows > 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, None], None),
        (["a", None], '{"a",NULL}'),
        (["", "\\", '"b",'], '{"","\\\\","\\"b\\","}'),
        (["a", 1], '{"a",1}'),
        ([1, 2.5, True, False], "{1,2.5,t,f}"),
        (['"\\'] * 2, '{"\\"\\\\","\\"\\\\"}'),
        ([datetime(2030, 5, 17, 12)], "{2030-05-17T12:00:00}"),
    ],
)
def test_an_array_is_the_text_of_one(values: list[Any], expected: str | None) -> None:
    assert expected == array_of(values)
    assert '{"a"}' == array_of(["a", "a"], alike=True)
