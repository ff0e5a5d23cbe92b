"""The workloads of the benchmark in which tasks depend on each other."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bench_workloads import PAYLOAD, Bench

from wopr import Task
from wopr.flows import Flow, chord, group

TASKS = 10_000
EDGES = 30_000
WORKERS = 100

Parents = Sequence[Sequence[int]]


class Edges:
    """A task that knows the graph that it is in, and checks that its parents are done."""

    def __init__(self, bench: Bench, parents: Parents) -> None:
        self.parents = parents
        self.done = [False] * len(parents)
        self.broken = 0

        @bench.queue.task(name="node")
        async def node(number: int, text: str) -> int:
            self.broken += not all(self.done[parent] for parent in self.parents[number])
            self.done[number] = True
            bench.count()
            return number

        self.node: Task[..., int] = node

    def begin(self, parents: Parents) -> None:
        """Forget what was done; watch these edges from now on."""
        self.parents = parents
        self.done = [False] * len(parents)

    def flow(self) -> Flow:
        """Return the tasks with their edges."""
        flow = Flow()
        nodes = []
        for number, parents in enumerate(self.parents):
            call = self.node.s(number, PAYLOAD)
            nodes.append(flow.add(call, after=[nodes[parent] for parent in parents]))
        return flow


def random_graph() -> list[list[int]]:
    """Return per task those before it that it depends on."""
    rng = random.Random(7)
    parents: list[set[int]] = [set() for _ in range(TASKS)]
    edges = 0
    while edges < EDGES:
        child = rng.randrange(1, TASKS)
        parent = rng.randrange(child)
        edges += parent not in parents[child]
        parents[child].add(parent)
    return [sorted(mine) for mine in parents]


async def check(bench: Bench, edges: Edges | None, count: int) -> None:
    """Raise unless all edges were respected, as the functions and as the file saw it."""
    if edges is not None and edges.broken:
        raise RuntimeError(f"{edges.broken} tasks started before a parent was done")
    [row] = await bench.queue.sql(
        "select count(*) as edges, count(*) filter (child.started_at < parent.completed_at) as bad "
        "from dependencies join tasks as child on child.id = dependencies.task_id "
        "join tasks as parent on parent.id = dependencies.parent_id "
        "where child.status = 'success' and parent.status = 'success'"
    )
    if (row["edges"], row["bad"]) != (count, 0):
        raise RuntimeError(f"{row['edges']} of {count} edges were kept, {row['bad']} broken")


async def chain_of_1000(bench: Bench) -> float:
    """Return tasks per second of 1,000 that each wait for the one before."""
    await bench.queue.start_workers("default", WORKERS)
    edges = Edges(bench, [[number - 1] if number else [] for number in range(1_000)])
    bench.expect(1_000)
    began = time.perf_counter()
    await bench.queue.enqueue_flow(edges.flow())
    await bench.settled()
    rate = 1_000 / (time.perf_counter() - began)
    await check(bench, edges, 999)
    return rate


async def chord_of_10000(bench: Bench) -> float:
    """Return tasks per second of 10,000 whose results one callback gets as a list."""

    @bench.queue.task(name="last")
    async def last(numbers: list[int]) -> int:
        bench.count()
        return sum(numbers)

    await bench.queue.start_workers("default", WORKERS)
    members = group(*(bench.noop.s(number, PAYLOAD) for number in range(TASKS)))
    bench.expect(TASKS + 1)
    began = time.perf_counter()
    flow = await bench.queue.enqueue_flow(chord(members, last.s()))
    if await flow.result() != sum(range(TASKS)):
        raise RuntimeError("the callback of the chord got wrong results")
    await bench.settled()
    rate = TASKS / (time.perf_counter() - began)
    await check(bench, None, TASKS)
    return rate


async def graph_of_10000(bench: Bench) -> float:
    """Return tasks per second of a random graph."""
    await bench.queue.start_workers("default", WORKERS)
    edges = Edges(bench, random_graph())
    rate = await run(bench, edges)
    await check(bench, edges, EDGES)
    return rate


async def run(bench: Bench, edges: Edges) -> float:
    """Return tasks per second, enqueued as one flow, until all are settled."""
    bench.expect(TASKS)
    began = time.perf_counter()
    await bench.queue.enqueue_flow(edges.flow())
    await bench.settled()
    return TASKS / (time.perf_counter() - began)


async def cost_of_edges(bench: Bench) -> float:
    """Return the rate of the random graph as a share of that of the same tasks without edges."""
    await bench.queue.start_workers("default", WORKERS)
    graph, no_edges = random_graph(), [[] for _ in range(TASKS)]
    edges = Edges(bench, no_edges)
    await run(bench, edges)  # warms up
    shares = []
    for _ in range(3):
        rates = []
        for parents in (no_edges, graph):
            edges.begin(parents)
            rates.append(await run(bench, edges))
        shares.append(rates[1] / rates[0])
    await check(bench, edges, 3 * EDGES)
    return statistics.median(shares)


FLOWS: dict[str, Callable[[Bench], Awaitable[Any]]] = {
    "flow: chain of 1,000": chain_of_1000,
    "flow: chord of 10,000": chord_of_10000,
    "flow: graph of 10,000 with 30,000 edges": graph_of_10000,
    "flow: graph against its tasks without edges (x)": cost_of_edges,
}
