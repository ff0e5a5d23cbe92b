"""Flows of a process that does not own the file: the owner runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.queues import PATIENCE
from wopr import InvalidCallError, Task, TaskFailedError, TaskNotFoundError, TaskQueue
from wopr.domain.newtask import OnParentFailure
from wopr.domain.resultof import ResultOf
from wopr.flows import Flow, chain, chord, group

OWNER = Path(__file__).with_name("owner.py")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """Give a file that another process owns."""
    path = tmp_path / "queue.duckdb"
    owner = subprocess.Popen(
        [sys.executable, str(OWNER), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    yield path
    owner.stdin.close()
    assert 0 == owner.wait(timeout=PATIENCE)
    owner.stdout.close()


class Client:
    """A queue whose tasks run elsewhere."""

    def __init__(self, database: Path) -> None:
        self.queue = TaskQueue(enabled=True, database=database)
        self.add: Task[..., int] = self.queue.task(add)
        self.total: Task[..., int] = self.queue.task(total)
        self.fail: Task[..., int] = self.queue.task(fail)
        self.hold: Task[..., int] = self.queue.task(hold)


async def test_what_follows_on_a_call_travels_with_it(database: Path) -> None:
    client = Client(database)
    async with client.queue:
        good = client.add.options(on_success=client.add.s(5), on_failure=client.add.s(9))
        bad = client.fail.options(on_success=client.add.s(5), on_failure=client.add.s(9))
        for call in (good, bad):
            await (await call.enqueue(1)).info()
        infos = [
            await client.queue.wait(info.id, timeout=PATIENCE)
            for info in await client.queue.get_tasks(name="add")
        ]
    assert sorted(str((info.args, info.status.value)) for info in infos) == [
        "((1,), 'success')",
        "((9,), 'cancelled')",
        "((9,), 'success')",
        "((None, 5), 'cancelled')",
        "((None, 5), 'success')",
    ]


async def add(number: int, more: int = 0) -> int:
    raise AssertionError("runs in the owner, not here")


async def total(numbers: list[int]) -> int:
    raise AssertionError("runs in the owner, not here")


async def fail(number: int) -> int:
    raise AssertionError("runs in the owner, not here")


async def hold(number: int) -> int:
    raise AssertionError("runs in the owner, not here")


async def test_a_client_enqueues_flows_and_gets_their_results(database: Path) -> None:
    client = Client(database)
    async with client.queue as queue:
        flow = await queue.enqueue_flow(
            chain(client.add.s(1), client.add.map(range(300)), client.total.s())
        )
        assert 300 + sum(range(300)) == await flow.result(PATIENCE)
        assert 302 == (await flow.progress()).succeeded
        several = await queue.enqueue_flow(group(client.add.s(1), client.add.s(2)))
        assert [1, 2] == await several.result(PATIENCE)
        assert [1, 2] == await (await queue.flow(several.id)).result(PATIENCE)
        assert "add<br/>× 300" in await flow.mermaid()


async def test_keys_and_rules_travel(database: Path) -> None:
    client = Client(database)
    async with client.queue as queue:
        graph = Flow()
        graph.add(client.fail.s(1), key="bad")
        always = client.add.options(on_parent_failure=OnParentFailure.RUN)
        graph.add(always.s(5), key="anyway", after=["bad"])
        graph.add(client.add.s(ResultOf("anyway"), more=1), key="end")
        flow = await queue.enqueue_flow(graph)
        assert 6 == await flow.result(PATIENCE)
        assert {"anyway": 5, "end": 6} == await flow.results(PATIENCE)


async def test_a_client_hears_of_failures_and_mistakes(database: Path) -> None:
    client = Client(database)
    async with client.queue as queue:
        flow = await queue.enqueue_flow(
            chord(group(client.add.s(1), client.fail.s(2)), client.total.s())
        )
        with pytest.raises(TaskFailedError, match=r"fail.*ValueError: no 2 here"):
            await flow.result(PATIENCE)
        with pytest.raises(InvalidCallError, match="must be int"):
            await queue.enqueue_flow(chain(client.add.s("one")))
        stranger = ResultOf("01890000-0000-7000-8000-000000000000")
        with pytest.raises(TaskNotFoundError, match="unknown to this queue"):
            await queue.enqueue_flow(group(client.add.s(stranger)))


async def test_a_client_cancels_a_flow(database: Path) -> None:
    client = Client(database)
    async with client.queue as queue:
        flow = await queue.enqueue_flow(chain(client.hold.s(1), client.add.s()))
        with pytest.raises(TimeoutError, match="0 of 2 tasks"):
            await flow.result(0.05)
        assert 2 == await flow.cancel()
        assert 2 == (await flow.wait(PATIENCE)).cancelled
