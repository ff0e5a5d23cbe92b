"""Every verb of the owner's socket, with values that it never was made for.

Seeded and bounded. Each message is answered, the owner goes on and does what it should, and
afterwards the file opens and the doctor finds nothing.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE
from support.wire import ALL, NEW, Wire, moment, wire
from wopr import TaskQueue, TaskStatus
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
SOMEBODY = "00000000-0000-7000-8000-000000000000"
LIMIT = ["limit", "x/y", '{"category": "x", "key": "y", "concurrency": 1}', AT]
ROW: list[Any] = [
    *("s", "fuzz", "default", 2, 0, "[1]", "{}", None),
    *('{"type": "interval", "seconds": 3600.0, "anchor": null}', "run_once", 100, 60.0, "skip"),
    *(0.0, None, None, False, None, None, "call", None, None, None, None, None, 0, 0, None, None),
]
"""A schedule as it travels."""
RIGHT: dict[str, list[Any]] = {
    "hello": [],
    "hand_over": [],
    "add": [{**NEW, "name": "fuzz", "options": '{"tags": ["a"], "timeout": 5}'}],
    "add_many": [[{**NEW, "name": "fuzz"}, {**NEW, "name": "fuzz", "unique_key": "k"}]],
    "check_room": [{"default": 1}],
    "add_flow": [[{**NEW, "name": "fuzz"}, {**NEW, "name": "fuzz", "depends_on": [0]}]],
    "get": [SOMEBODY],
    "find": [ALL, None],
    "wait": [SOMEBODY, 0.0],
    "cancel": [SOMEBODY, "because"],
    "revoke": [["revocation", 'fuzz {"n": 1}', '{"task": "fuzz", "where": {"n": 1}}', AT]],
    "rules_all": ["limit"],
    "rules_save": [[LIMIT]],
    "rules_merge": [LIMIT],
    "rules_delete": ["limit", ["x/y"]],
    "logs": [SOMEBODY, 10],
    "workers": [],
    "retry": [SOMEBODY],
    "recover": ["default"],
    "cleanup": [moment("2020-01-01T00:00:00"), False],
    "stats": [],
    "snapshot": [],
    "explain": [SOMEBODY],
    "history": [SOMEBODY],
    "sql": ["select ?", [1]],
    "schedule_sync": [[ROW], False],
    "schedule_add": [ROW],
    "schedule_replace": [ROW],
    "schedule_pause": ["s", "because"],
    "schedule_resume": ["s"],
    "schedule_remove": ["s"],
    "schedule_run": ["s"],
    "schedule_all": [],
    "schedule_get": ["s"],
    "schedule_tick": [],
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


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a message."""
    yield path
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, item in inside:
        yield from places(item, (*path, key))


def spoil(rng: random.Random, params: list[Any]) -> list[Any]:
    """Return the values of a call with one of them replaced, left out or added."""
    params = copy.deepcopy(params)
    path = rng.choice(list(places(params)))
    if not path:
        return [*params, rng.choice(NASTY)] if rng.random() < 0.5 else params[:-1]
    parent: Any = params
    for key in path[:-1]:
        parent = parent[key]
    choice = rng.random()
    if choice < 0.8:
        parent[path[-1]] = rng.choice(NASTY)
    elif choice < 0.9:
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent[rng.choice(["more", "", "__class__", "name\0"])] = rng.choice(NASTY)
    else:
        parent.append(rng.choice(NASTY))
    return params


def garbage(rng: random.Random, message: bytes) -> bytes:
    """Return a line that is a message no more, or hardly."""
    if rng.random() < 0.5:
        at = rng.randrange(len(message))
        return message[:at] + bytes([rng.choice(b'\0\x80\xff"{}[],')]) + message[at + 1 :]
    return rng.choice([message[: len(message) // 2], deep_json(rng.choice([300, 100_000])), b"1"])


def deep_json(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def queue_of(path: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=path)

    @queue.task
    async def fuzz(n: int) -> None: ...

    @queue.task(category="safe")
    async def safe(n: int) -> int:
        return n + 1

    return queue


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
            nobody = verb in {"wait", "explain"}
            assert answer.get("error", {}).get("type") == ("TaskNotFoundError" if nobody else None)


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
