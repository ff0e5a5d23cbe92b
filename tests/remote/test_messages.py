"""What arrives through the socket passes the checks of the call that it stands for."""

from __future__ import annotations

import json
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from support.queues import PATIENCE
from support.wire import ALL, NEW, moment, wire
from wopr import InvalidCallError, Settings, TaskQueue, TaskStatus
from wopr.domain.rule import RuleKind
from wopr.domain.schedule import COLUMNS
from wopr.domain.triggers import At
from wopr.queue.queue import inside
from wopr.remote.series import Series
from wopr.remote.verbs import Verbs
from wopr.storage.duckdb.doctor import check

BY_NOTHING = '{"task": "x", "where": {"[": 1}}'
EARLY = moment("0001-01-01T00:00:00+14:00")
NOW = moment("2026-01-01T00:00:00+00:00")
LIMIT = '{"category": "x", "concurrency": 1}'
PLAN: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    "name": "s",
    "task": "double",
    "category": "default",
    "priority": 2,
    "max_retries": 0,
    "args": "[1]",
    "kwargs": "{}",
    "misfire": "run_once",
    "misfire_limit": 1,
    "jitter": 0.0,
    "misfire_grace": 1.0,
    "overlap": "skip",
    "run_on_start": False,
    "origin": "call",
    "trigger": '{"type": "interval", "seconds": 3600.0, "anchor": null}',
    "missed": 0,
    "skipped": 0,
}
"""A schedule as it travels."""
SOMEBODY = "00000000-0000-7000-8000-000000000000"


def queue_of(path: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=path, settings=Settings(max_args_bytes=10_000))

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    return queue


def new(**fields: Any) -> tuple[str, list[Any]]:
    return "add", [{**NEW, **fields}]


def rule(kind: str, name: str, value: str, at: Any = NOW) -> tuple[str, list[Any]]:
    return "rules_save", [[[kind, name, value, at]]]


def alert(**fields: Any) -> tuple[str, list[Any]]:
    return rule("alert", "x", json.dumps({"name": "x", "when": "slow", "threshold": 1, **fields}))


def schedule(**fields: Any) -> tuple[str, list[Any]]:
    return "schedule_add", [[{**PLAN, **fields}[name] for name in COLUMNS]]


POISON: dict[str, tuple[str, list[Any]]] = {
    "no name": new(name=None),
    "a number as name": new(name=1),
    "NUL in a name": new(name="a\0b"),
    "a name of 100 kB": new(name="x" * 100_000),
    "retries that no column holds": new(max_retries=2**40),
    "less than no retries": new(max_retries=-1),
    "yes retries": new(max_retries=True),
    "a priority of nobody": new(priority=9),
    "a flow that is no id": new(flow_id="x"),
    "no keywords": new(kwargs=None),
    "keywords that are a list": new(kwargs="[]"),
    "arguments that are no JSON": new(args="[1"),
    "arguments that are not a number": new(args="[NaN]"),
    "arguments with half a character": new(args='["\\ud800"]'),
    "arguments over the limit": new(args=json.dumps(["x" * 10_000])),
    "options that are a list": new(options="[]"),
    "options with a policy of nobody": new(options='{"retry": {"wait": "x"}}'),
    "options with tags that are numbers": new(options='{"tags": [1]}'),
    "options with a timeout that is text": new(options='{"timeout": "x"}'),
    "options with places that there are not": new(options='{"results": {"args": {"0": "x"}}}'),
    "options with a timeout of nothing": new(options='{"timeout": 0}'),
    "options with a delay that is text": new(options='{"delay": "x"}'),
    "options of a flow whose key is a list": new(options='{"flow": {"key": [1]}}'),
    "options with the result of a parent too many": new(options='{"results": {"args": {"0": 0}}}'),
    "a number of a flow, and no flow": new(depends_on=[0]),
    "due at a text": new(run_at="y"),
    "due at a date of some zone": new(run_at=moment("2026-01-01T00:00:00+02:00")),
    "planned for a text": new(schedule="x", scheduled_for="y"),
    "a conflict of nobody": new(on_conflict="x"),
    "parents that are half": new(depends_on=[1.5]),
    "a field too many": new(more=1),
    "a field too few": ("add", [{name: NEW[name] for name in NEW if name != "kwargs"}]),
    "no task": ("add", []),
    "two tasks": ("add", [NEW, NEW]),
    "one bad of many": ("add_many", [[NEW, {**NEW, "name": None}]]),
    "one of many that counts on a flow": ("add_many", [[NEW, {**NEW, "depends_on": [0]}]]),
    "room for more than anybody has": ("check_room", [{str(n): 1 for n in range(1_001)}]),
    "one bad of a flow": ("add_flow", [[NEW, {**NEW, "args": "{}"}]]),
    "a limit of nothing": rule("limit", "x", "{}"),
    "a limit of a text": rule("limit", "x", '{"category": "x", "concurrency": "y"}'),
    "a limit under another name": rule("limit", "x", '{"category": "y", "concurrency": 1}'),
    "a rate without a time": rule("limit", "x", '{"category": "x", "rate": 1}'),
    "a pause that is no JSON": rule("pause", "c:default", "not json"),
    "a pause of all": rule("pause", "x", '{"reason": "x"}'),
    "a revocation without a task": rule("revocation", "x", "{}"),
    "a revocation by no expression": rule("revocation", 'x {"[": 1}', BY_NOTHING),
    "an alert that is a list": rule("alert", "x", "[]"),
    "an alert without a condition": rule("alert", "x", '{"name": "x"}'),
    "an alert for what never happens": alert(when="never"),
    "an alert with a threshold that is text": alert(threshold="x"),
    "an alert without the threshold that it needs": alert(threshold=None),
    "an alert of a level of nobody": alert(level="x"),
    "an alert told every second of a year ago": alert(every=-1),
    "an alert for a category of blanks": alert(emits=" "),
    "an alert about a number": alert(task=1),
    "an alert with a field too many": alert(more=1),
    "an alert under another name": alert(name="y"),
    "a backlog of each key": rule("limit", "x/k", '{"category": "x", "key": "k", "backlog": 1}'),
    "a revocation of what is no number": rule(
        "revocation", 'x {"k": Infinity}', '{"task": "x", "where": {"k": 1e999}}'
    ),
    "a rule of nobody": rule("x", "x", "{}"),
    "a rule of a text's time": rule("limit", "x", LIMIT, "now"),
    "a rule before all time": rule("limit", "x", LIMIT, EARLY),
    "a change that is no JSON": ("rules_merge", [["limit", "x", "not json", NOW]]),
    "a change to nothing": ("rules_merge", [["limit", "x", '{"concurrency": 0}', NOW]]),
    "a schedule of nothing": ("schedule_add", [[]]),
    "a schedule of numbers": ("schedule_add", [[1] * 29]),
    "a schedule that is a number": ("schedule_add", [1]),
    "a schedule with a policy of nobody": schedule(options='{"retry": {"wait": "x"}}'),
    "a schedule with a timeout of nothing": schedule(options='{"timeout": 0}'),
    "a schedule with results of nobody": schedule(options='{"results": {"args": {"0": 0}}}'),
    "a schedule that ends before it starts": schedule(
        start_at=moment("2026-01-02T00:00:00"), end_at=moment("2026-01-01T00:00:00")
    ),
    "a schedule on behalf of half a book": schedule(run_as="x" * 500),
    "a schedule that has missed all there is": schedule(missed=2**63 - 1),
    "a schedule that has missed a time already": schedule(missed_times='["2026-01-01T00:00:00"]'),
    "a schedule that missed what is no time": schedule(missed_times='["yesterday"]'),
    "a schedule that never runs": schedule(max_running=0),
    "a schedule that runs so often as a text says": schedule(max_running="2"),
    "a schedule of a thousand levels": schedule(
        trigger='{"type": "any", "of": [' * 1_000 + "]}" * 1_000
    ),
    "a schedule of a thousand triggers": schedule(
        trigger=json.dumps({"type": "any", "of": [{"type": "moon"}] * 1_000})
    ),
    "a schedule of what never comes": schedule(
        trigger=json.dumps({"type": "all", "of": [At(time(9)).to_json(), At(time(10)).to_json()]})
    ),
    "a schedule that is paused by nobody": schedule(paused_reason="x"),
    "a filter for half": ("find", [{**ALL, "limit": 1.5}, None]),
    "a filter beyond the column": ("find", [{**ALL, "before_seq": 2**64}, None]),
    "a filter for a status of nobody": ("find", [{**ALL, "status": "x"}, None]),
    "a wait for ever and ever": ("wait", [SOMEBODY, float("inf")]),
    "a wait of no number": ("wait", [SOMEBODY, float("nan")]),
    "a number as id": ("get", [1]),
    "a reason with NUL": ("cancel", [SOMEBODY, "a\0b"]),
    "a cleanup before a text": ("cleanup", ["x", False]),
    "an archive before a text": ("archive", ["x", None]),
    "an archive in a place that depends on who reads it": (
        "archive",
        [moment("2026-01-01T00:00:00"), "archive"],
    ),
    "an archive with a NUL": ("archive", [moment("2026-01-01T00:00:00"), "/tmp/a\0b"]),
    "a cleanup of perhaps": ("cleanup", [moment("2026-01-01T00:00:00"), 1]),
    "room for half": ("check_room", [{"default": 0.5}]),
    "a query of a number": ("sql", [1, []]),
    "a verb of nobody": ("__class__", []),
    "a verb that is a list": ([], []),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("title", POISON)
async def test_what_no_call_may_say_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, title: str
) -> None:
    path = tmp_path / "queue.duckdb"
    verb, params = POISON[title]
    async with queue_of(path) as queue:
        await queue.start_workers("default", 1)
        async with wire(path) as client:
            answer = await client.ask(verb, *params)
            assert answer["error"]["type"] in {
                *("InvalidCallError", "PayloadError", "PayloadTooLargeError", "QueryError")
            }
            assert "ok" in await client.ask("add", NEW)
        handle = await queue.enqueue("double", (21,))
        assert await handle.result(timeout=PATIENCE) == 42
        assert len(await queue.get_tasks()) == 2
        backend = await queue._core.writer()
        assert [rule for kind in RuleKind for rule in await backend.rules.all(kind)] == []
        assert await queue.schedules.list() == []
    assert check(path).problems == []
    async with queue_of(path) as queue:
        assert (await queue.get_task_stats())["by_status"] == {"success": 2}


@pytest.mark.parametrize(
    ("verb", "params"),
    [
        ("hello", [1] * 100),
        ("add_many", [[1] * 100]),
        ("add_flow", [[1] * 100]),
        ("rules_save", [[1] * 100]),
        ("rules_delete", ["limit", [1] * 100]),
        ("schedule_sync", [[1] * 100, True]),
    ],
)
async def test_a_message_of_many_misfits_is_looked_at_up_to_the_first(
    tmp_path: Path, verb: str, params: list[Any]
) -> None:
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        verbs = Verbs(queue._core.access.backend, bool, 1_000, Series())
        with pytest.raises(InvalidCallError, match="nothing was") as caught:
            await verbs.carry_out(verb, params)
        assert "more)" not in str(caught.value)


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n", b"NaN\n"])
async def test_a_line_that_is_no_message_is_answered(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "queue.duckdb"
    async with queue_of(path) as queue:
        await queue.get_task_stats()
        await queue.enqueue("double", (1,))
        async with wire(path) as client:
            client.writer.write(line)
            assert (await client.answer())["id"] is None
            assert "ok" in await client.ask("hello")


@pytest.mark.parametrize("number", [None, "x", 1.5, -1, 2**63, True, [], {"$type": "bytes"}])
async def test_a_number_that_no_request_can_have_is_answered(tmp_path: Path, number: Any) -> None:
    path = tmp_path / "queue.duckdb"
    async with queue_of(path) as queue:
        await queue.enqueue("double", (1,))
        async with wire(path) as client:
            message = {"id": number, "verb": "hello", "params": []}
            client.writer.write(json.dumps(message).encode() + b"\n")
            answer = await client.answer()
            assert answer["id"] is None
            assert answer["error"]["type"] == "InvalidCallError"
            assert "ok" in await client.ask("hello")


async def test_a_change_that_fails_while_its_record_is_made_leaves_the_worker_free(
    tmp_path: Path,
) -> None:
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        await queue.start_workers("default", 1)
        backend = await inside(queue).access.backend()  # past all checks
        broken = inside(queue).new_task("double", (1,), {}, {})
        broken.kwargs = None  # type: ignore[assignment]
        with pytest.raises(Exception, match="Nothing was written"):
            await backend.add(broken)
        handle = await queue.enqueue("double", (21,))
        assert await handle.result(timeout=PATIENCE) == 42
        assert (await handle.info()).status is TaskStatus.SUCCESS
