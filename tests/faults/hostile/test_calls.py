"""Hostile input to the public calls gives a typed error and writes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tenacity import wait_fixed

from support.nasty import (
    Evil,
    EvilDict,
    EvilInt,
    EvilList,
    EvilText,
    EvilZone,
    itself,
    nested,
    shared,
)
from support.queues import PATIENCE
from support.target import Target
from wopr import RetryPolicy, TaskPriority, WoprError

INJECTION = "'; DROP TABLE tasks; --"
LONG = "x" * 201
SURROGATE = "\ud800"
NUL = "a\0b"
HUGE = 10**5_000
"""An integer with more digits than Python writes out."""


class Other(Enum):
    """An enum that is no priority."""

    HIGH = 3


async def generator() -> Any:
    """Give something to be awaited that is no value."""
    yield 1


Attack = Callable[[Target], Awaitable[Any]]

BAD_TEXTS: dict[str, Any] = {
    "none": None,
    "int": 5,
    "bytes": b"any",
    "empty": "",
    "blank": " \n",
    "long": LONG,
    "nul": NUL,
    "surrogate": SURROGATE,
    "list": ["any"],
    "evil": Evil(),
    "class": Evil,
}
BAD_COUNTS: dict[str, Any] = {
    "negative": -1,
    "float": 1.0,
    "bool": True,
    "text": "3",
    "nan": float("nan"),
    "too much": 2**31,
    "huge": HUGE,
    "evil": Evil(),
    "evil int": EvilInt(-1),
}
BAD_SECONDS: dict[str, Any] = {
    "negative": -0.001,
    "nan": float("nan"),
    "infinite": float("inf"),
    "bool": True,
    "text": "5",
    "longest": timedelta.max,
    "shortest": timedelta.min,
    "too long": 1e12,
    "huge": HUGE,
    "complex": 1j,
    "evil": Evil(),
    "evil int": EvilInt(-1),
}
BAD_MOMENTS: dict[str, Any] = {
    "naive": datetime(2030, 1, 1),
    "naive max": datetime.max,
    "text": "2030-01-01T00:00:00Z",
    "number": 1_900_000_000,
    "date": datetime(2030, 1, 1).date(),
    "past the end": datetime.max.replace(tzinfo=UTC).replace(tzinfo=None),
    "beyond utc": datetime.max.replace(tzinfo=ZoneInfo("America/Lima")),
    "evil zone": datetime(2030, 1, 1, tzinfo=EvilZone()),
    "evil": Evil(),
}
BAD_PRIORITIES: dict[str, Any] = {
    "int": 3,
    "bool": True,
    "text": "HIGH",
    "other enum": Other.HIGH,
    "class": TaskPriority,
    "evil": Evil(),
}
BAD_IDS: dict[str, Any] = {
    "int": 7,
    "none": None,
    "bytes": b"0190cafe",
    "list": [],
    "evil": Evil(),
}
BAD_VALUES: dict[str, Any] = {
    "object": object(),
    "class": int,
    "function": len,
    "generator": (n for n in range(3)),
    "coroutine": generator(),
    "itself": itself(),
    "deep": nested(100),
    "very deep": nested(100_000),
    "shared": shared(60),
    "too large": "x" * 10_001,
    "too large in parts": ["xxxxxxxxx"] * 2_000,
    "surrogate": SURROGATE,
    "surrogate key": {SURROGATE: 1},
    "huge int": HUGE,
    "bytes too large": bytes(10_000),
    "module": pytest,
    "evil": Evil(),
    "evil list": EvilList([1]),
    "evil dict": EvilDict(a=1),
    "evil inside": {"a": [1, {"b": Evil()}]},
    "evil key": {"a": {Other.HIGH: Evil}},
}
BAD_RETRIES: dict[str, Any] = {
    "number": 3,
    "text": "always",
    "class": wait_fixed,
    "two waits": [wait_fixed(1), wait_fixed(2)],
    "function": lambda state: 1,
    "evil": Evil(),
    "list of evil": [Evil()],
}
BAD_TAGS: dict[str, Any] = {
    "text": "a,b",
    "number": 5,
    "list of numbers": [1],
    "nul": [NUL],
    "surrogate": [SURROGATE],
    "long": [LONG],
    "evil": Evil(),
    "list of evil": [Evil()],
    "evil list": EvilList(["a"]),
}


def cases(label: str, values: dict[str, Any], attack: Callable[[Target, Any], Any]) -> list[Any]:
    """Return one case per value."""
    return [
        pytest.param(lambda target, value=value: attack(target, value), id=f"{label}-{name}")
        for name, value in values.items()
    ]


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Leave out what is a good value in some place."""
    return {name: value for name, value in values.items() if name not in names}


ATTACKS = [
    *cases("name", BAD_TEXTS, lambda t, v: t.queue.add_task(v)),
    *cases("enqueue", BAD_TEXTS, lambda t, v: t.queue.enqueue(v)),
    *cases("category", without(BAD_TEXTS, "none"), lambda t, v: t.queue.add_task("any", v)),
    *cases("priority", BAD_PRIORITIES, lambda t, v: t.queue.add_task("any", "c", v)),
    *cases("max_retries", BAD_COUNTS, lambda t, v: t.queue.add_task("any", "c", None, v)),
    *cases("timeout", {**BAD_SECONDS, "zero": 0}, lambda t, v: t.queue.enqueue("any", timeout=v)),
    *cases("delay", BAD_SECONDS, lambda t, v: t.queue.enqueue("any", delay=v)),
    *cases("run_at", BAD_MOMENTS, lambda t, v: t.queue.enqueue("any", run_at=v)),
    *cases(
        "unique_key", without(BAD_TEXTS, "none"), lambda t, v: t.queue.enqueue("any", unique_key=v)
    ),
    *cases("retry", BAD_RETRIES, lambda t, v: t.queue.enqueue("any", retry=v)),
    *cases("tags", BAD_TAGS, lambda t, v: t.queue.enqueue("any", tags=v)),
    *cases(
        "on_conflict",
        {"text": "skip", "bool": True, "evil": Evil()},
        lambda t, v: t.queue.enqueue("any", unique_key="k", on_conflict=v),
    ),
    *cases("argument", BAD_VALUES, lambda t, v: t.task.enqueue(v)),
    *cases("keyword", BAD_VALUES, lambda t, v: t.queue.add_task("any", value=v)),
    *cases("typed", {**BAD_VALUES, "text": "1"}, lambda t, v: t.typed.enqueue(v)),
    *cases(
        "args",
        {"text": "ab", "number": 5, "dict": {"a": 1}, "set": {1}, "evil": Evil(), "e": EvilList()},
        lambda t, v: t.queue.enqueue("any", v),
    ),
    *cases(
        "kwargs",
        {
            "list": [1],
            "number": 5,
            "int key": {1: 2},
            "surrogate key": {SURROGATE: 1},
            "evil": Evil(),
            "evil dict": EvilDict(a=1),
            "evil key": {EvilText: 1},
        },
        lambda t, v: t.queue.enqueue("any", (), v),
    ),
    *cases(
        "binding",
        {"none": (), "many": (1, "a", 3), "wrong": ("x",)},
        lambda t, v: t.typed.enqueue(*v),
    ),
    *cases(
        "bulk",
        {
            "not tuples": [1, 2],
            "number": 5,
            "texts": ["ab"],
            "none": None,
            "evil": Evil(),
            "good then bad": [(1,), (object(),)],
            "good then evil": [(1,), Evil()],
        },
        lambda t, v: t.task.enqueue_many(v),
    ),
    *cases("options", {"unknown": 1}, lambda t, v: t.task.options(nonsense=v).enqueue()),
    *cases("get", BAD_IDS, lambda t, v: t.queue.get_task_info(v)),
    *cases("cancel", BAD_IDS, lambda t, v: t.queue.cancel_task(v)),
    *cases("retry_task", BAD_IDS, lambda t, v: t.queue.retry_task(v)),
    *cases("wait", BAD_IDS, lambda t, v: t.queue.wait(v)),
    *cases("explain", BAD_IDS, lambda t, v: t.queue.explain(v)),
    *cases("history", BAD_IDS, lambda t, v: t.queue.get_history(v)),
    *cases("handle", BAD_IDS, lambda t, v: t.queue.handle(v).info()),
    *cases("patience", BAD_SECONDS, lambda t, v: t.waiting.result(timeout=v)),
    *cases("list-category", without(BAD_TEXTS, "none"), lambda t, v: t.queue.get_tasks(v)),
    *cases("list-name", without(BAD_TEXTS, "none"), lambda t, v: t.queue.get_tasks(name=v)),
    *cases(
        "list-status",
        {"unknown": "done", "int": 1, "list": [], "sql": INJECTION, "evil": Evil()},
        lambda t, v: t.queue.get_tasks(status=v),
    ),
    *cases("limit", BAD_COUNTS, lambda t, v: t.queue.get_tasks(limit=v)),
    *cases("offset", BAD_COUNTS, lambda t, v: t.queue.get_tasks(offset=v)),
    *cases(
        "cursor",
        {**without(BAD_IDS, "none"), "unknown": "0190cafe-0000-7000-8000-000000000000", "no": "x"},
        lambda t, v: t.queue.get_tasks(cursor=v),
    ),
    *cases("days", BAD_COUNTS, lambda t, v: t.queue.cleanup_old_tasks(v)),
    *cases("months", BAD_COUNTS, lambda t, v: t.queue.cleanup_old_tasks(months=v)),
    *cases("years", BAD_COUNTS, lambda t, v: t.queue.cleanup_old_tasks(years=v)),
    *cases("workers", {**BAD_COUNTS, "zero": 0}, lambda t, v: t.queue.start_workers("c", v)),
    *cases("workers-of", BAD_TEXTS, lambda t, v: t.queue.start_workers(v)),
    *cases("recover", without(BAD_TEXTS, "none"), lambda t, v: t.queue.recover_tasks(v)),
    *cases("grace", BAD_SECONDS, lambda t, v: t.queue.shutdown(v)),
    *cases(
        "sql",
        {
            "none": None,
            "number": 5,
            "empty": "",
            "nul": "select '\0'",
            "surrogate": f"select '{SURROGATE}'",
            "nonsense": "selekt",
            "two": "select 1; select 2",
            "drop": "drop table tasks",
            "delete": "delete from tasks",
            "hidden delete": "with x as (delete from tasks returning *) select * from x",
            "attach": "attach 'x.db'",
            "file": "select * from read_csv('/etc/passwd')",
            "copy": "copy tasks to 'x.csv'",
            "setting": "set memory_limit = '10GB'",
            "unknown table": "select * from nothing",
            "missing parameter": "select ?",
            "evil": Evil(),
        },
        lambda t, v: t.queue.sql(v),
    ),
    *cases(
        "sql-parameter",
        {
            "object": object(),
            "surrogate": SURROGATE,
            "evil": Evil(),
            "huge": HUGE,
            "itself": itself(),
        },
        lambda t, v: t.queue.sql("select ?", v),
    ),
]


def test_there_are_many_attacks() -> None:
    assert len(ATTACKS) > 300


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_hostile_call_gives_a_typed_error_and_writes_nothing(
    unharmed: Target, attack: Attack
) -> None:
    before = await unharmed.written()
    with pytest.raises(WoprError) as raised:
        await attack(unharmed)
    assert str(raised.value).strip()
    assert before == await unharmed.written()
    assert {} == unharmed.queue.workers


# -- what is done when the function is registered --------------------------------

REGISTRATIONS = [
    *cases("name", BAD_TEXTS, lambda t, v: t.queue.register_task(v)(len)),
    *cases("category", BAD_TEXTS, lambda t, v: t.queue.register_task("x", v)(len)),
    *cases("priority", BAD_PRIORITIES, lambda t, v: t.queue.task(name="x", priority=v)(len)),
    *cases("max_retries", BAD_COUNTS, lambda t, v: t.queue.task(name="x", max_retries=v)(len)),
    *cases("timeout", BAD_SECONDS, lambda t, v: t.queue.task(name="x", timeout=v)(len)),
    *cases("retry", BAD_RETRIES, lambda t, v: t.queue.task(name="x", retry=v)(len)),
    *cases(
        "function",
        {"none": None, "text": "len", "number": 5},
        lambda t, v: t.queue.register_task("x")(v),
    ),
    *cases("taken", {"name": "any"}, lambda t, v: t.queue.register_task(v)(len)),
    *cases("jitter", BAD_SECONDS, lambda t, v: RetryPolicy(jitter=v)),
    *cases(
        "dont_retry",
        {
            "text": "x",
            "instance": ValueError(),
            "class": int,
            "evil": Evil(),
            "evil list": EvilList(),
        },
        lambda t, v: RetryPolicy(dont_retry=v),
    ),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("attack", REGISTRATIONS)
async def test_a_hostile_registration_is_refused(
    unharmed: Target, attack: Callable[[Target], Any]
) -> None:
    before = await unharmed.written()
    with pytest.raises(WoprError) as raised:
        attack(unharmed)
    assert str(raised.value).strip()
    assert before == await unharmed.written()


# -- what looks hostile and is not -----------------------------------------------


@pytest.mark.parametrize("text", [INJECTION, '"; --', "select 1", "%s {} \\", "ünï ☃ 🦆", "\x01"])
async def test_any_text_is_only_text(target: Target, text: str) -> None:
    queue = target.queue
    queue.register_task(text, text)(lambda *args, **kwargs: None)
    handle = await queue.enqueue(
        text, (text,), {text: text}, category=text, unique_key=text, tags=[text]
    )
    [info] = await queue.get_tasks(category=text, name=text)
    assert (handle.id, text, text, (text,), {text: text}, text, (text,)) == (
        info.id,
        info.name,
        info.category,
        info.args,
        info.kwargs,
        info.unique_key,
        info.tags,
    )
    rows = await queue.sql("select name from tasks where name = ?", text)
    assert [{"name": text}] == list(rows)
    assert [] == await queue.get_history(text)
    assert None is await queue.get_task_info(text)
    assert False is await queue.cancel_task(text)
    assert 2 == (await queue.get_task_stats())["total"]


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), -(2**63), 2**64, "", NUL, [], {}, (), nested(50), None]
)
async def test_odd_values_are_kept(target: Target, value: object) -> None:
    handle = await target.task.enqueue(value)
    info = await handle.info()
    assert repr((value,)) == repr(info.args)


async def test_subclasses_of_plain_types_count_as_the_plain_value(target: Target) -> None:
    queue = target.queue
    handle = await queue.enqueue(
        EvilText("any"), category=EvilText("odd"), max_retries=EvilInt(3), unique_key=EvilText("k")
    )
    [info] = await queue.get_tasks(EvilText("odd"), EvilText("pending"), limit=EvilInt(1))
    assert (handle.id, "any", "odd", 3, "k") == (
        info.id,
        info.name,
        info.category,
        info.max_retries,
        info.unique_key,
    )
    assert 2 == (await queue.sql(EvilText("select count(*) from tasks"))).scalar()
    assert True is await queue.cancel_task(EvilText(handle.id))


async def test_an_id_may_be_written_in_any_way_uuids_are(target: Target) -> None:
    task_id = target.waiting.id
    for text in (task_id.upper(), task_id.replace("-", ""), f"{{{task_id}}}"):
        info = await target.queue.get_task_info(text)
        assert info is not None
        assert task_id == info.id
        assert ["add"] == [step.reason for step in await target.queue.get_history(text)]
    assert True is await target.queue.cancel_task(task_id.upper())
    assert False is await target.queue.cancel_task(task_id)
    assert "cancelled" == await target.waiting.status()


@pytest.mark.parametrize(
    "moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
async def test_the_first_and_the_last_moment_are_due_times(
    target: Target, moment: datetime
) -> None:
    handle = await target.queue.enqueue("any", run_at=moment)
    info = await handle.info()
    assert moment == info.run_at
    assert (await target.queue.explain(handle.id)).text
    await target.queue.start_workers("c")
    await target.waiting.result(timeout=PATIENCE)
