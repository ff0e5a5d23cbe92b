"""Every verb of the owner's socket, with values that it never was made for.

Seeded and bounded. Each message is answered, the owner goes on and does what it should, and
afterwards the file opens and the doctor finds nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from support.queues import PATIENCE
from support.wire import ALL, NEW, Wire, moment, wire
from wopr import RetryPolicy, TaskQueue, TaskStatus
from wopr.domain.rule import RuleKind
from wopr.domain.schedule import Schedule
from wopr.domain.triggers import Interval
from wopr.remote.verbs import VERBS
from wopr.storage.duckdb.doctor import check

SEEDS = range(4)
MESSAGES = 400
"""Of each seed."""
WAITING = 20
"""Tasks that nobody may touch meanwhile."""

AT = moment("2026-01-01T00:00:00+00:00")
RETRY = json.loads(RetryPolicy(wait=wait_fixed(5), dont_retry=(ValueError,), jitter=1.0).to_json())
SOMEBODY = "00000000-0000-7000-8000-000000000000"
LIMIT = ["limit", "x/y", '{"category": "x", "key": "y", "concurrency": 1}', AT]
PAUSE = ["pause", "category x", '{"category": "x", "task": null, "reason": "because"}', AT]
REVOCATION = ["revocation", 'fuzz {"n": 1}', '{"task": "fuzz", "where": {"n": 1}}', AT]
SLOW = {"name": "slow", "when": "slow", "task": "fuzz", "category": "x", "level": "error"}
TOKEN_VALUE = {
    "name": "t",
    "role": "read",
    "digest": "0" * 64,
    "session": "1" * 64,
    "expires_at": None,
}
TOKEN = ["token", "t", json.dumps(TOKEN_VALUE), AT]
ALERT = ["alert", "slow", json.dumps({**SLOW, "threshold": 5.0, "every": 60.0, "emits": "x"}), AT]
OPTIONS = {
    "tags": ["a"],
    "timeout": 5,
    "soft_timeout": 4.0,
    "delay": 1.5,
    "retry": RETRY,
    "flow": {"key": "k", "listed": True},
    "on_parent_failure": "run",
}
HELD = {"results": {"args": {"0": 0}, "kwargs": {"m": [{"at": 0}]}}}
ROW: list[Any] = [
    *("s", "fuzz", "default", 2, 0, "[1]", "{}", None),
    *('{"type": "interval", "seconds": 3600.0, "anchor": null}', "run_once", 100, 60.0, "skip"),
    *(0.0, None, None, False, None, None, "call", None, None, None, None, None, 0, 0, None, None),
    *(2, None),
]
"""A schedule as it travels."""
AFTER = {**NEW, "name": "fuzz", "depends_on": [0], "options": json.dumps(HELD)}
SELECTION = {
    "name": ["nobody's"],
    "category": [],
    "status": [],
    "ids": None,
    "where": None,
    "since": None,
    "until": None,
    "flow": None,
    "schedule": None,
    "tag": None,
    "error": None,
}
CHANGE = {
    "verb": "retry",
    "priority": None,
    "category": None,
    "run_at": None,
    "reason": "because",
}
RIGHT: dict[str, list[Any]] = {
    "hello": [],
    "hand_over": [],
    "add": [{**NEW, "name": "fuzz", "options": json.dumps(OPTIONS)}],
    "add_many": [[{**NEW, "name": "fuzz"}, {**NEW, "name": "fuzz", "unique_key": "k"}]],
    "check_room": [{"default": 1}],
    "add_flow": [[{**NEW, "name": "fuzz"}, AFTER]],
    "get": [SOMEBODY],
    "find": [ALL, None],
    "wait": [SOMEBODY, 0.0],
    "cancel": [SOMEBODY, "because"],
    "revoke": [REVOCATION],
    "rules_all": ["limit"],
    "rules_save": [[LIMIT, PAUSE, REVOCATION, ALERT, TOKEN]],
    "rules_merge": [LIMIT],
    "rules_delete": ["limit", ["x/y"]],
    "logs": [SOMEBODY, 10],
    "workers": [],
    "retry": [SOMEBODY],
    "recover": ["default"],
    "add_workers": ["default", 1],
    "cleanup": [moment("2020-01-01T00:00:00"), False],
    "archive": [moment("2020-01-01T00:00:00"), None],
    "stats": [],
    "snapshot": [False],
    "backup": [],
    "status": [False],
    "explain_group": ["category", "default"],
    "explain": [SOMEBODY],
    "history": [SOMEBODY],
    "sql": ["select ?", [1], 10, 1.0],
    "schedule_sync": [[ROW], False],
    "schedule_add": [ROW],
    "schedule_replace": [ROW],
    "schedule_pause": ["s", "because"],
    "schedule_resume": ["s"],
    "schedule_remove": ["s"],
    "schedule_run": ["s", SOMEBODY],
    "schedule_all": [],
    "schedule_get": ["s"],
    "schedule_tick": [],
    "act_preview": [SELECTION, "cancel", 5.0],
    "act_ids": [SELECTION, 10, 5.0],
    "act_page": [SELECTION, 10, None, 5.0],
    "act_change": [SELECTION, CHANGE, "key", "ada", 5.0],
    "act_progress": ["key"],
    "act_undo": [10**6, "key", None],
    "act_list": [10, 10**6],
    "act_asked": ["select 1"],
}


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


NASTY: list[Any] = [
    *(None, True, False, -1, 0, 1, 7, 1.5, -0.0, 2**31, 2**40, 2**63, 2**64, 10**30, 10**400),
    *(float("nan"), float("inf"), -float("inf"), 1e308, 5e-324),
    *("", " ", "\0", "a\0b", "\ud800", "é" * 300, "x" * 100_000, "'; drop table tasks; --"),
    *("[]", "{}", "null", "not json", "[1", '{"a": NaN}', '"text"', "[" * 5_000, '{"at": 10}'),
    *([], {}, [None], [[]], {"a": 1}, {"": None}, deep(100), deep(190), [{}] * 100),
    *(moment("0001-01-01T00:00:00+14:00"), moment("9999-12-31T23:59:59-14:00")),
    *(moment("0001-01-01T00:00:00"), moment("9999-12-31T23:59:59.999999"), moment("2026-01-01")),
    *({"$type": "float", "value": "nan"}, {"$type": "Decimal", "value": "NaN"}),
    *({"$type": "bytes", "value": "AAA="}, {"$type": "timedelta", "value": "P1D"}),
    *({"$type": "UUID", "value": SOMEBODY}, {"$type": "set", "value": [[]]}),
    *({"$type": "tuple", "value": [1]}, {"$type": "dict", "value": 1}, {"$type": "any"}),
]


class Inside:
    """A step of a way: into the JSON that a text says."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a message, and of the JSON in its texts."""
    yield path
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    elif isinstance(value, str) and value[:1] in {"[", "{"}:
        inside = [(Inside, json.loads(value))]
    for key, item in inside:
        yield from places(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """Return a value with a part of it changed."""
    if not path:
        return change(value)
    step, *rest = path
    if step is Inside:
        return json.dumps(changed(json.loads(value), tuple(rest), change))
    copied = value.copy()
    copied[step] = changed(value[step], tuple(rest), change)
    return copied


def spoil(rng: random.Random, params: list[Any]) -> list[Any]:
    """Return the values of a call with one of them replaced, left out or added."""
    path = rng.choice(list(places(params)))
    choice, nasty = rng.random(), rng.choice(NASTY)
    if path and choice < 0.8:
        return changed(params, path, lambda _: nasty)  # type: ignore[no-any-return]
    more = rng.choice(["more", "", "__class__", "name\0"])

    def broken(part: Any) -> Any:
        if isinstance(part, dict):
            return {**part, more: nasty}
        if isinstance(part, list):
            return [*part, nasty] if choice < 0.9 else part[:-1]
        return nasty

    return changed(params, path, broken)  # type: ignore[no-any-return]


def garbage(rng: random.Random, message: bytes) -> bytes:
    """Return a line that is a message no more, or hardly."""
    if rng.random() < 0.5:
        at = rng.randrange(len(message))
        return message[:at] + bytes([rng.choice(b'\0\x80\xff"{}[],')]) + message[at + 1 :]
    return rng.choice([message[: len(message) // 2], deep_json(rng.choice([300, 100_000])), b"1"])


def deep_json(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


WRONG: list[Any] = [
    *(None, True, -1, 0, 1.5, 2**40, 2**64, "", "a\0b", "x" * 70_000, "[1", '{"a": NaN}', [], {}),
    *([None], {"a": 1}, moment("0001-01-01T00:00:00+14:00"), {"$type": "float", "value": "nan"}),
]
"""One of each kind, for each part of each message."""


async def state(queue: TaskQueue) -> Any:
    """Return what a refused message may not have changed."""
    backend = await queue._core.writer()
    rules = [await backend.rules.all(kind) for kind in RuleKind]
    schedules = [schedule.row() for schedule, _standing in await backend.schedules.all()]
    return (await queue.get_task_stats())["by_status"], rules, schedules


def queue_of(path: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=path)

    @queue.task
    async def fuzz(n: int) -> None: ...

    @queue.task(category="safe")
    async def safe(n: int) -> int:
        return n + 1

    return queue


async def put(client: Wire, verb: str, params: Any) -> dict[str, Any]:
    """Ask with what need not be a list."""
    line = json.dumps({"id": 0, "verb": verb, "params": params})
    client.writer.write(line.encode() + b"\n")
    return await client.answer()


async def attack(client: Wire, rng: random.Random) -> int:
    """Send one message; return 1 if the owner did what it asked for."""
    verb = rng.choice(VERBS)
    params = RIGHT[verb] if rng.random() < 0.1 else spoil(rng, RIGHT[verb])
    if rng.random() < 0.1:
        line = json.dumps({"id": 0, "verb": verb, "params": params}).encode()
        client.writer.write(garbage(rng, line).replace(b"\n", b" ") + b"\n")
        answer = await client.answer()
    else:
        answer = await client.ask(verb, *params)
    assert ("ok" in answer) != ("error" in answer)
    return "ok" in answer


def test_the_right_calls_name_all_verbs() -> None:
    assert set(VERBS) == set(RIGHT)
    assert len(ROW) == len(Schedule.row(Schedule.from_row(ROW)))
    assert isinstance(Schedule.from_row(ROW).trigger, Interval)


@pytest.mark.parametrize("verb", VERBS)
async def test_the_right_call_of_each_verb_is_carried_out(tmp_path: Path, verb: str) -> None:
    """Else what is spoiled was refused before."""
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        await queue.schedules.add("s", "fuzz", args=(1,), every=3600)
        async with wire(queue.database) as client:
            if verb == "schedule_add":
                assert "ok" in await client.ask("schedule_remove", "s")
            answer = await client.ask(verb, *RIGHT[verb])
            nobody = dict.fromkeys(("wait", "explain"), "TaskNotFoundError")
            unknown = {
                **nobody,
                "act_undo": "ActError",
                "archive": "StorageFileError",
                "add_workers": "InvalidCallError",
            }
            assert answer.get("error", {}).get("type") == unknown.get(verb)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if RIGHT[verb]])
async def test_a_wrong_type_anywhere_in_a_message_is_refused_and_leaves_nothing(
    tmp_path: Path, verb: str
) -> None:
    path = tmp_path / "queue.duckdb"
    refused = 0
    async with queue_of(path) as queue:
        await queue.schedules.add("s", "fuzz", args=(1,), every=3600)
        async with wire(path) as client:
            for where in places(RIGHT[verb]):
                before = await state(queue)
                for wrong in WRONG:
                    params = changed(RIGHT[verb], where, lambda _, wrong=wrong: wrong)
                    answer = await put(client, verb, params)
                    if "ok" in answer:  # it may say that, too
                        before = await state(queue)
                    refused += "error" in answer
                assert await state(queue) == before
    assert refused
    assert check(path).problems == []
    async with asyncio.timeout(PATIENCE), queue_of(path) as queue:
        await queue.get_tasks(limit=10_000)


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_message_harms_the_owner(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "queue.duckdb"
    async with queue_of(path) as queue:
        await queue.start_workers("default", 2)
        ids = await queue.enqueue_ids("safe", [(n,) for n in range(WAITING)], {})
        async with wire(path) as client:
            done = sum([await attack(client, rng) for _ in range(MESSAGES)])
            assert 0 < done < MESSAGES
        await queue.start_workers("safe", 2)
        ended = [await queue.wait(task_id, timeout=PATIENCE) for task_id in ids]
        assert [n + 1 for n in range(WAITING)] == [task.result for task in ended]
        await queue.get_tasks(limit=10_000)
        await queue.schedules.list()
    assert check(path).problems == []
    async with asyncio.timeout(PATIENCE), queue_of(path) as queue:
        for task_id in ids:
            assert (await queue.require_task_info(task_id)).status is TaskStatus.SUCCESS
