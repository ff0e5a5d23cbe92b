"""Flows that run: results, progress, failures, cancelling, and handles made anew."""

from __future__ import annotations

from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome, Gate, Home, SteppableClock, running, until
from wopr import (
    InvalidCallError,
    QueueDisabledError,
    Task,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
)
from wopr.domain.newtask import OnParentFailure
from wopr.domain.resultof import ResultOf
from wopr.flows import Flow, FlowProgress, chain, chord, group


class Tasks:
    """Tasks of one queue, what they were called with, and a gate that some wait at."""

    def __init__(self, queue: TaskQueue) -> None:
        self.gate = Gate()
        self.ran: list[str] = []

        @queue.task
        async def add(number: int, more: int = 0) -> int:
            self.ran.append(f"add {number} {more}")
            return number + more

        @queue.task
        async def total(numbers: list[int], factor: int = 1) -> int:
            self.ran.append(f"total {numbers}")
            return sum(numbers) * factor

        @queue.task
        async def hold(number: int) -> int:
            await self.gate.wait(number)
            return number

        @queue.task
        async def fail(number: int) -> int:
            raise ValueError(f"no {number} here")

        @queue.task
        def tidy(text: str = "") -> str:
            self.ran.append(f"tidy {text}")
            return text

        self.add, self.total, self.hold, self.fail = add, total, hold, fail
        self.tidy: Task[Any, str] = tidy


# -- results --------------------------------------------------------------------


async def test_a_chain_gives_the_last_result(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(chain(tasks.add.s(1), tasks.add.s(10), tasks.add.s(100)))
        assert 111 == await flow.result(PATIENCE)
        assert ["add 1 0", "add 1 10", "add 11 100"] == tasks.ran


async def test_a_group_gives_its_results_in_order(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(group(tasks.add.s(3), tasks.add.s(1), tasks.add.s(2)))
        assert [3, 1, 2] == await flow.result(PATIENCE)


async def test_a_chord_gathers_the_results(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(chord(tasks.add.map(range(20)), tasks.total.s(2)))
        assert 380 == await flow.result(PATIENCE)
        assert f"total {list(range(20))}" == tasks.ran[-1]


async def test_a_step_before_a_group_goes_to_each_member(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        fan = group(tasks.add.s(1), chain(tasks.add.s(2), tasks.add.s(3)))
        flow = await queue.enqueue_flow(chain(tasks.add.s(100), fan, tasks.total.s()))
        assert 206 == await flow.result(PATIENCE)


async def test_groups_in_a_row_each_get_the_list(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(
            chain(tasks.add.map([1, 2]), group(tasks.total.s(1), tasks.total.s(10)))
        )
        assert [3, 30] == await flow.result(PATIENCE)


async def test_an_immutable_step_waits_and_gets_its_own_arguments(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(chain(tasks.add.s(1), tasks.tidy.si("up")))
        assert "up" == await flow.result(PATIENCE)
        assert ["add 1 0", "tidy up"] == tasks.ran


async def test_one_call_is_a_flow_too(home: Home) -> None:
    async with running(home.queue(), default=1) as queue:
        flow = await queue.enqueue_flow(Tasks(queue).add.s(1))
        assert 1 == await flow.result(PATIENCE)
        assert 1 == len(flow.task_ids)


async def test_a_graph_runs_in_its_order(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        graph = Flow()
        graph.add(tasks.total.s([ResultOf("left"), ResultOf("right")]), key="sum", after=["log"])
        left = graph.add(tasks.add.s(1), key="left")
        graph.add(tasks.add.s(ResultOf(left), more=10), key="right")
        graph.add(tasks.tidy.s("log"), key="log", after=["right"])
        flow = await queue.enqueue_flow(graph)
        assert 12 == await flow.result(PATIENCE)
        assert ["add 1 0", "add 1 10", "tidy log", "total [1, 11]"] == tasks.ran
        assert {"left": 1, "right": 11, "log": "log", "sum": 12} == await flow.results(PATIENCE)
        assert 11 == await flow.task("right").result(PATIENCE)
        with pytest.raises(TaskNotFoundError, match=r"no task with the key 'rigth'.*'right'"):
            flow.task("rigth")


async def test_a_flow_may_depend_on_tasks_outside_of_it(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        held = await tasks.hold.enqueue(5)
        flow = await queue.enqueue_flow(chain(tasks.add.s(ResultOf(held), more=1), tasks.add.s()))
        await tasks.gate.arrivals()
        assert 2 == (await flow.progress()).waiting
        tasks.gate.open()
        assert 6 == await flow.result(PATIENCE)


async def test_code_without_a_loop_uses_flows_through_the_bridge(home: Home) -> None:
    queue = home.queue()
    tasks = Tasks(queue)
    with queue.sync() as sync:
        sync(queue.start_workers, "default", 2)
        flow = sync(queue.enqueue_flow, chain(tasks.add.s(1), tasks.add.s(2)))
        assert 3 == sync(flow.result, PATIENCE)


# -- a handle made anew -------------------------------------------------------------


async def test_a_handle_made_anew_answers_alike(home: Home) -> None:
    async with running(home.queue(), default=3) as queue:
        tasks = Tasks(queue)
        graph = Flow()
        graph.add(tasks.add.s(1), key="one")
        flows = [
            await queue.enqueue_flow(shape)
            for shape in (
                tasks.add.s(7),
                group(tasks.add.s(7)),
                group(tasks.add.s(1), chain(tasks.add.s(2), tasks.add.s(3)), tasks.add.s(4)),
                graph,
            )
        ]
        first = [await flow.result(PATIENCE) for flow in flows]
        assert [7, [7], [1, 5, 4], 1] == first
        named = await flows[3].results()
        assert {"one": 1} == named
        ids = [flow.id for flow in flows]
    async with home.queue() as queue:
        Tasks(queue)
        again = [await queue.flow(flow_id) for flow_id in ids]
        assert first == [await flow.result(PATIENCE) for flow in again]
        assert [flow.task_ids for flow in flows] == [flow.task_ids for flow in again]
        assert named == await again[3].results()
        assert again[3].task("one").id == flows[3].task("one").id


@pytest.mark.parametrize("flow_id", ["nonsense", "01890000-0000-7000-8000-000000000000"])
async def test_an_unknown_flow_is_said_to_be_unknown(home: Home, flow_id: str) -> None:
    async with home.queue() as queue:
        with pytest.raises(TaskNotFoundError, match=f"There is no flow '{flow_id}'"):
            await queue.flow(flow_id)


async def test_more_tasks_than_a_query_answers_are_found(
    durable_home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOPR_TASKS_QUERY_ROWS", "7")
    async with running(durable_home.queue(), default=3) as queue:
        flow = await queue.enqueue_flow(Tasks(queue).add.map(range(25)))
        assert list(range(25)) == await flow.result(PATIENCE)
        assert 25 == (await flow.progress()).succeeded
        assert flow.task_ids == (await queue.flow(flow.id)).task_ids


# -- progress ------------------------------------------------------------------------


async def test_progress_tells_where_the_tasks_stand(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(
            chain(tasks.add.s(1), group(tasks.hold.s(), tasks.hold.s(), tasks.hold.s()))
        )
        await tasks.gate.arrivals(2)
        progress = await until(flow.progress, lambda seen: seen.waiting == 0)
        assert FlowProgress(4, 1, 1, 0, 0, running=2, waiting=0) == progress
        assert 25.0 == progress.percent
        tasks.gate.open()
        assert FlowProgress(4, 4, 4, 0, 0, 0, 0) == await flow.wait(PATIENCE)


async def test_waiting_has_a_limit_and_the_flow_goes_on(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        one = await queue.enqueue_flow(chain(tasks.add.s(1), tasks.hold.s()))
        many = await queue.enqueue_flow(group(tasks.hold.s(1), tasks.add.s(2)))
        await tasks.gate.arrivals(2)
        for waits in (one.result, many.result, many.wait, many.results):
            with pytest.raises(TimeoutError, match=r"Flow \S+ did not end within 0 s: \d of 2"):
                await waits(0)
        tasks.gate.open()
        assert (1, [1, 2]) == (await one.result(PATIENCE), await many.result(PATIENCE))
        assert [1, 2] == await many.result(0), "what has ended needs no time"
        with pytest.raises(InvalidCallError, match="timeout"):
            await many.wait(-1)


# -- failures -------------------------------------------------------------------------


async def test_a_failure_is_named_not_what_followed_it(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(
            chain(tasks.add.s(1), tasks.fail.s(), tasks.add.s(), tasks.add.s())
        )
        with pytest.raises(TaskFailedError) as caught:
            await flow.result(PATIENCE)
        assert f"Flow {flow.id} has no result: task {flow.task_ids[1]} (" in str(caught.value)
        assert "fail) failed after 1 attempt: ValueError: no 1 here" in str(caught.value)
        progress = await flow.wait(PATIENCE)
        assert (1, 1, 2) == (progress.succeeded, progress.failed, progress.cancelled)
        assert [1] == list((await flow.results()).values())
        assert ["add 1 0"] == tasks.ran


async def test_a_chord_fails_while_other_members_still_run(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(
            chord(group(tasks.hold.s(1), tasks.fail.s(2)), tasks.total.s())
        )
        await tasks.gate.arrivals()
        with pytest.raises(TaskFailedError, match="ValueError: no 2 here"):
            await flow.result(PATIENCE)
        assert 1 == (await flow.progress()).running
        tasks.gate.open()
        assert 3 == (await flow.wait(PATIENCE)).ended


async def test_a_list_fails_once_all_have_ended(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(group(tasks.fail.s(1), tasks.add.s(2), tasks.fail.s(3)))
        with pytest.raises(TaskFailedError, match="ValueError: no 1 here"):
            await flow.result(PATIENCE)
        assert {2} == set((await flow.results()).values())


async def test_a_step_that_runs_in_any_case_runs_after_a_failure(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        over = tasks.tidy.options(on_parent_failure=OnParentFailure.RUN).si("over")
        flow = await queue.enqueue_flow(chain(tasks.fail.s(1), over))
        assert "over" == await flow.result(PATIENCE)
        assert 1 == (await flow.progress()).failed


async def test_a_refused_flow_leaves_nothing_behind(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        with pytest.raises(InvalidCallError, match="must be int"):
            await queue.enqueue_flow(chain(tasks.add.s(1), tasks.add.s("two")))
        stranger = ResultOf("01890000-0000-7000-8000-000000000000")
        with pytest.raises(TaskNotFoundError, match="unknown to this queue"):
            await queue.enqueue_flow(group(tasks.add.s(1), tasks.add.s(stranger)))
        assert [] == await queue.get_tasks()
        assert [] == tasks.ran


async def test_a_queue_that_is_switched_off_refuses_flows() -> None:
    queue = TaskQueue(enabled=False)
    with pytest.raises(QueueDisabledError):
        await queue.enqueue_flow(Tasks(queue).add.s(1))
    with pytest.raises(QueueDisabledError):
        await queue.flow("01890000-0000-7000-8000-000000000000")


# -- cancelling -------------------------------------------------------------------------


async def test_cancelling_ends_what_runs_and_starts_nothing(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(
            chain(
                tasks.add.s(1),
                group(tasks.hold.s(), tasks.hold.s(), tasks.hold.s()),
                tasks.total.s(),
                tasks.add.s(),
            )
        )
        await tasks.gate.arrivals(2)
        assert 5 == await flow.cancel()
        assert FlowProgress(6, 6, 1, 0, 5, 0, 0) == await flow.progress()
        assert ["add 1 0"] == tasks.ran
        assert 0 == await flow.cancel()
        with pytest.raises(TaskCancelledError, match=rf"{flow.id}.*hold\) was cancelled"):
            await flow.result(PATIENCE)


async def test_cancelling_does_not_start_what_would_run_after_a_failure(
    durable_home: DuckDBHome,
) -> None:
    async with running(durable_home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        always = tasks.tidy.options(on_parent_failure=OnParentFailure.RUN)
        failing = tasks.tidy.options(on_parent_failure=OnParentFailure.FAIL)
        flow = await queue.enqueue_flow(
            chain(tasks.hold.s(1), always.si("a"), tasks.add.si(1), always.si("b"), failing.si("c"))
        )
        await tasks.gate.arrivals()
        assert 5 == await flow.cancel()
        assert [] == tasks.ran
        for task_id in flow.task_ids[1:]:
            history = await queue.get_history(task_id)
            assert [TaskStatus.PENDING, TaskStatus.CANCELLED] == [one.to_status for one in history]


async def test_one_flow_is_cancelled_and_another_goes_on(home: Home) -> None:
    async with running(home.queue(), default=2) as queue:
        tasks = Tasks(queue)
        one = await queue.enqueue_flow(chain(tasks.hold.s(1), tasks.add.s()))
        other = await queue.enqueue_flow(chain(tasks.hold.s(2), tasks.add.s()))
        await tasks.gate.arrivals(2)
        assert 2 == await one.cancel()
        tasks.gate.open()
        assert 2 == await other.result(PATIENCE)


# -- looking ------------------------------------------------------------------------------


async def test_the_picture_shows_the_flow_as_it_stands(home: Home) -> None:
    async with running(home.queue(), default=1) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(chain(tasks.add.s(1), tasks.hold.s(), tasks.add.s()))
        await tasks.gate.arrivals()
        lines = (await flow.mermaid()).splitlines()
        assert "flowchart TD" == lines[0]
        assert ["success", "started", "waiting"] == [line.rpartition(":")[2] for line in lines[1:4]]
        assert ["    t0 --> t1", "    t1 --> t2"] == lines[4:6]


async def test_the_tasks_of_a_flow_can_be_listed_and_asked_for(durable_home: DuckDBHome) -> None:
    async with running(durable_home.queue(), default=1) as queue:
        tasks = Tasks(queue)
        await tasks.add.enqueue(1)
        flow = await queue.enqueue_flow(chain(tasks.add.s(1), tasks.add.s()))
        await flow.wait(PATIENCE)
        listed = await queue.get_tasks(flow_id=flow.id)
        assert flow.task_ids == [info.id for info in listed[::-1]]
        assert (flow.task_ids[0],) == listed[0].depends_on
        row = (await queue.sql("select * from flows"))[0]
        assert (flow.id, 2, 2) == (str(row["flow_id"]), row["tasks"], row["succeeded"])


async def test_a_flow_that_was_cleaned_up_is_gone(home: Home, clock: SteppableClock) -> None:
    async with running(home.queue(clock=clock), default=1) as queue:
        tasks = Tasks(queue)
        flow = await queue.enqueue_flow(group(tasks.add.s(1), tasks.add.s(2)))
        await flow.wait(PATIENCE)
        clock.advance(1)
        assert 2 == await queue.cleanup_old_tasks(days=0)
        with pytest.raises(TaskNotFoundError, match="no flow"):
            await flow.progress()
        with pytest.raises(TaskNotFoundError, match="no flow"):
            await flow.result(PATIENCE)
