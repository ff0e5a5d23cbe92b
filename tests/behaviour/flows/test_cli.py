"""``wopr flows``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.commands import NASTY, Answer, Call, call
from support.queues import PATIENCE
from wopr import TaskQueue
from wopr.flows import Flow, chain, group


@dataclass(frozen=True)
class Flows:
    """A file with flows, by what became of them."""

    path: Path
    done: str
    failed: str
    waiting: str


async def fill(path: Path) -> Flows:
    queue = TaskQueue(enabled=True, database=path)

    @queue.task(name="double", category="sums")
    async def double(number: int) -> int:
        return number * 2

    @queue.task(name="nasty\x1b[31m", category="sums")
    async def nasty(number: int) -> int:
        raise ValueError(NASTY)

    @queue.task(name="later", category="later")
    async def later(number: int) -> int:
        return number

    async with queue:
        await queue.start_workers("sums", 2)
        done = await queue.enqueue_flow(chain(double.s(1), group(double.s(), double.s())))
        failed = await queue.enqueue_flow(chain(nasty.s(1), double.s()))
        graph = Flow()
        graph.add(double.s(1), key="first")
        graph.add(later.s(1), key="second", after=["first"])
        graph.add(later.s(1), key="third", after=["second"])
        waiting = await queue.enqueue_flow(graph)
        await done.wait(PATIENCE)
        await failed.wait(PATIENCE)
        await waiting.task("first").result(20)
    return Flows(path, done.id, failed.id, waiting.id)


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """Give a file with a flow that succeeded, one that failed and one that waits."""
    monkeypatch.setenv("COLUMNS", "400")
    return asyncio.run(fill(tmp_path / "tasks.duckdb"))


@pytest.fixture
def wopr(flows: Flows) -> Call:
    """Call the command on the database."""

    def run(*words: object, stdin: str | None = None) -> Answer:
        return call(*words, "--database", flows.path, stdin=stdin)

    return run


def test_list_shows_the_newest_first_with_counts(wopr: Call, flows: Flows) -> None:
    answer = wopr("flows", "list")
    assert 0 == answer.code
    rows = [line.split() for line in answer.out.splitlines()[2:]]
    assert [flows.waiting, flows.failed, flows.done] == [row[0] for row in rows]
    assert [["3", "1", "1"], ["2", "2", "0"], ["3", "3", "3"]] == [row[1:4] for row in rows]


def test_list_as_json_and_with_a_limit(wopr: Call, flows: Flows) -> None:
    [one] = wopr("flows", "list", "--limit", 1, "--json").json["flows"]
    assert (flows.waiting, 3, 1, None) == (
        one["flow_id"],
        one["tasks"],
        one["succeeded"],
        one["completed_at"],
    )


def test_list_says_when_there_are_none(tmp_path: Path) -> None:
    async def open_one() -> None:
        async with TaskQueue(enabled=True, database=tmp_path / "empty.duckdb"):
            pass

    asyncio.run(open_one())
    answer = call("flows", "list", "--database", tmp_path / "empty.duckdb")
    assert (0, "There are no flows.\n") == (answer.code, answer.out)


def test_show_tells_how_far_it_is_and_what_waits(wopr: Call, flows: Flows) -> None:
    out = wopr("flows", "show", flows.waiting).out
    assert flows.waiting in out
    assert "1 of 3 (33 %)" in out
    assert "waits for some of its 1 parent" in out
    assert "newest 1 of 3" in wopr("flows", "show", flows.waiting, "-l", 1).out


def test_show_as_json_has_counts_times_and_tasks(wopr: Call, flows: Flows) -> None:
    shown = wopr("flows", "show", flows.done, "--json").json
    assert (flows.done, 3, 3, 100.0) == (
        shown["id"],
        shown["total"],
        shown["succeeded"],
        shown["percent"],
    )
    assert shown["completed_at"]
    assert [4, 4, 2] == [task["result"] for task in shown["tasks"]]


def test_mermaid_prints_the_picture(wopr: Call, flows: Flows) -> None:
    lines = wopr("flows", "mermaid", flows.waiting).out.splitlines()
    assert "flowchart TD" == lines[0]
    assert '    t0["double<br/>first"]:::success' == lines[1]
    assert "    t1 --> t2" in lines
    shown = wopr("flows", "mermaid", flows.waiting, "--json").json
    assert "\n".join(lines) == shown["mermaid"]


def test_cancel_ends_what_has_not_ended(wopr: Call, flows: Flows) -> None:
    answer = wopr("flows", "cancel", flows.waiting)
    assert (0, f"{flows.waiting}: 2 tasks cancelled\n") == (answer.code, answer.out)
    [act] = wopr("acts", "--json").json["acts"]
    assert ("cancel", 2) == (act["verb"], act["changed"])
    assert {"flow": flows.waiting} == act["selection"]
    again = wopr("flows", "cancel", flows.waiting)
    assert 1 == again.code
    assert f"{flows.waiting} not cancelled: all of its tasks have ended\n" == again.out
    assert {"id": flows.done, "cancelled": 0} == wopr("flows", "cancel", flows.done, "--json").json


@pytest.mark.parametrize("command", ["show", "cancel", "mermaid"])
@pytest.mark.parametrize("flow_id", ["nonsense", "01890000-0000-7000-8000-000000000000"])
def test_an_unknown_flow_is_a_no(wopr: Call, command: str, flow_id: str) -> None:
    answer = wopr("flows", command, flow_id)
    assert (1, "") == (answer.code, answer.out)
    assert f"There is no flow '{flow_id}'" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("command", ["list", "show", "mermaid"])
def test_what_is_stored_gives_the_terminal_no_orders(
    wopr: Call, flows: Flows, command: str
) -> None:
    answer = wopr("flows", command, *([flows.failed] if command != "list" else []))
    assert 0 == answer.code
    for letter in "\x1b\x07\u202e":
        assert letter not in answer.out + answer.err
