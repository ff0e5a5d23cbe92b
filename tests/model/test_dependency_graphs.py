"""Random graphs of tasks, with failures and restarts, end as a simple function says they must."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.queues import PATIENCE
from wopr import OnParentFailure, ResultOf, Settings, TaskHandle, TaskQueue, TaskStatus
from wopr.storage.duckdb.doctor import check


@dataclass(frozen=True)
class Node:
    """One task: its parents by number, and what it does."""

    parents: tuple[int, ...]
    on_failure: OnParentFailure
    fails: bool
    takes_results: bool


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Return a graph whose nodes depend on earlier ones only."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 24))):
        earlier = st.lists(st.integers(0, number - 1), max_size=3, unique=True)
        parents = tuple(draw(earlier)) if number else ()
        on_failure = draw(st.sampled_from(OnParentFailure))
        fails = draw(st.integers(0, 4)) == 0
        nodes.append(Node(parents, on_failure, fails, takes_results=draw(st.booleans())))
    return nodes


def expected(nodes: list[Node]) -> list[tuple[TaskStatus, int | None]]:
    """Return how each task ends, and with what result."""
    ends: list[tuple[TaskStatus, int | None]] = []
    for number, node in enumerate(nodes):
        failed = any(ends[parent][0] is not TaskStatus.SUCCESS for parent in node.parents)
        called = any(ends[parent][0] is TaskStatus.FAILED for parent in node.parents)
        only = bool(node.parents) and node.on_failure is OnParentFailure.ONLY
        if (only and not called) or (failed and node.on_failure is OnParentFailure.CANCEL):
            ends.append((TaskStatus.CANCELLED, None))
        elif node.fails or (failed and node.on_failure is OnParentFailure.FAIL):
            ends.append((TaskStatus.FAILED, None))
        else:
            given = (
                sum(ends[parent][1] or 0 for parent in node.parents) if node.takes_results else 0
            )
            ends.append((TaskStatus.SUCCESS, number + given))
    return ends


class Life:
    """One opening of the queue after the other, each ended after some starts of tasks."""

    def __init__(self, database: Path, stops: list[int]) -> None:
        """Stop each opening after so many starts; the last one goes on to the end."""
        self.database = database
        self.stops = stops
        self.begun = 0
        self.enough = asyncio.Event()

    def queue(self) -> TaskQueue:
        """Return a queue for the next opening."""
        queue = TaskQueue(
            enabled=True, database=self.database, settings=Settings(window=10, enabled=True)
        )
        self.enough.clear()
        self.begun = 0
        limit = self.stops.pop() if self.stops else 10**6

        @queue.register_task("node", "c")
        async def node(number: int, fails: bool, results: list[int | None]) -> int:
            self.begun += 1
            if self.begun >= limit:
                self.enough.set()
                await asyncio.Event().wait()  # until the shutdown interrupts it
            if fails:
                raise ValueError(str(number))
            return number + sum(one or 0 for one in results)

        return queue


async def enqueue(queue: TaskQueue, nodes: list[Node]) -> list[str]:
    """Enqueue the graph, one task after the other; return the ids."""
    handles: list[TaskHandle[int]] = []
    for number, node in enumerate(nodes):
        parents = [handles[parent] for parent in node.parents]
        results = [ResultOf(one) for one in parents] if node.takes_results else []
        handles.append(
            await queue.enqueue(
                "node",
                (number, node.fails, results),
                depends_on=parents,
                on_parent_failure=node.on_failure,
            )
        )
    return [handle.id for handle in handles]


async def live(database: Path, nodes: list[Node], stops: list[int]) -> None:
    """Run the graph through all its restarts and compare."""
    life = Life(database, list(stops))
    queue = life.queue()
    async with queue:
        ids = await enqueue(queue, nodes)
    for _ in range(len(stops)):
        queue = life.queue()
        async with queue:
            await queue.start_workers("c", 3)
            ends = [asyncio.ensure_future(queue.wait(task_id)) for task_id in ids]
            stop = asyncio.ensure_future(life.enough.wait())
            everything = asyncio.gather(*ends, return_exceptions=True)
            await asyncio.wait([everything, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            await queue.shutdown(timeout=0)
            await everything
    queue = life.queue()
    async with queue:
        await queue.start_workers("c", 3)
        infos = [await queue.wait(task_id, timeout=PATIENCE) for task_id in ids]
        early = await queue.sql(
            "select d.task_id from dependencies d "
            "join transitions t on t.task_id = d.task_id and t.to_status = 'started' "
            "join tasks p on p.id = d.parent_id where t.occurred_at < p.completed_at"
        )
    assert expected(nodes) == [(info.status, info.result) for info in infos]
    assert [] == early.rows, "a task was started before one that it depends on had ended"
    assert [] == check(database).problems


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(nodes=graphs(), stops=st.lists(st.integers(1, 6), max_size=3))
def test_a_graph_ends_as_its_nodes_say_whatever_restarts_come(
    nodes: list[Node], stops: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder) / "tasks.duckdb", nodes, stops))
