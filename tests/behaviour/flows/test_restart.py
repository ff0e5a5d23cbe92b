"""A flow goes on where it was, in the next process that opens the file."""

from __future__ import annotations

from support.queues import PATIENCE, Gate, Home, running
from wopr import TaskQueue, TaskStatus
from wopr.flows import Composition, chain, group


def build(queue: TaskQueue, gate: Gate, ran: list[str]) -> Composition[int]:
    """Register the tasks; return a chain with a fan-out in its middle."""

    @queue.task(name="first", category="first")
    async def first(number: int) -> int:
        ran.append(f"first {number}")
        return number

    @queue.task(name="middle", category="middle")
    async def middle(number: int, more: int) -> int:
        await gate.wait(more)
        ran.append(f"middle {number} {more}")
        return number + more

    @queue.task(name="last", category="last")
    async def last(numbers: list[int]) -> int:
        ran.append(f"last {numbers}")
        return sum(numbers)

    return chain(first.s(1), group(middle.s(10), middle.s(20), middle.s(30)), last.s())


async def test_a_restart_in_the_middle_continues_the_flow(home: Home) -> None:
    before: list[str] = []
    after: list[str] = []
    gate, opened = Gate(), Gate()
    opened.open()
    async with running(home.queue(), first=1, middle=2, last=1) as queue:
        flow = await queue.enqueue_flow(build(queue, gate, before))
        await gate.arrivals(2)
    async with running(home.queue(), first=1, middle=2, last=1) as queue:
        build(queue, opened, after)
        again = await queue.flow(flow.id)
        assert 63 == await again.result(PATIENCE)
        infos = await queue.get_tasks(flow_id=flow.id)
        assert {TaskStatus.SUCCESS} == {info.status for info in infos}
    assert ["first 1"] == before
    assert ["middle 1 10", "middle 1 20", "middle 1 30"] == sorted(after[:3])
    assert ["last [11, 21, 31]"] == after[3:]


async def test_a_crash_image_of_a_running_flow_continues_it(home: Home) -> None:
    after: list[str] = []
    gate, opened = Gate(), Gate()
    opened.open()
    async with running(home.queue(), first=1, middle=3) as queue:
        flow = await queue.enqueue_flow(build(queue, gate, []))
        await gate.arrivals(3)
        image = await home.crash_image(queue)
    async with running(image.queue(), first=1, middle=1, last=1) as queue:
        build(queue, opened, after)
        again = await queue.flow(flow.id)
        assert 63 == await again.result(PATIENCE)
        assert [1, 2, 2, 2, 1] == [
            (await queue.require_task_info(task_id)).attempt for task_id in flow.task_ids
        ]
    assert ["last [11, 21, 31]"] == after[3:]


async def test_a_flow_can_be_cancelled_after_a_restart(home: Home) -> None:
    gate = Gate()
    async with running(home.queue(), first=1, middle=2) as queue:
        flow = await queue.enqueue_flow(build(queue, gate, []))
        await gate.arrivals(2)
    async with home.queue() as queue:
        again = await queue.flow(flow.id)
        assert 4 == await again.cancel()
        progress = await again.wait(PATIENCE)
        assert (1, 4) == (progress.succeeded, progress.cancelled)
