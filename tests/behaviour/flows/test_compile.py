"""From a flow to new tasks: what depends on what, what is stored, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wopr import InvalidCallError, TaskNotRegisteredError, TaskQueue
from wopr.calls.signature import Step
from wopr.domain.newtask import NewTask, OnParentFailure
from wopr.domain.resultof import ResultOf
from wopr.flows import Flow, Signature, chain, chord, group
from wopr.flows import compile as compiling
from wopr.flows.compile import compile_flow
from wopr.flows.flow import flow_of
from wopr.queue.queue import inside

FLOW = "01890000-0000-7000-8000-00000000000f"
TASK = "01890000-0000-7000-8000-00000000000a"

queue = TaskQueue(enabled=True)


@queue.task(name="one", category="numbers", max_retries=2)
async def one(number: int, more: int = 0) -> int:
    return number + more


@queue.task(name="total")
async def total(numbers: list[int], factor: int = 1) -> int:
    return sum(numbers) * factor


@queue.task(name="note")
async def note(text: str) -> None: ...


def compiled(flow: Flow | Step[Any]) -> list[NewTask]:
    return compile_flow(flow_of(flow), inside(queue).new_task, FLOW)


def options(new: NewTask) -> dict[str, Any]:
    return json.loads(new.options) if new.options else {}


# -- what comes out ------------------------------------------------------------


def test_a_chain_passes_results_on_as_the_first_argument() -> None:
    first, second, third = compiled(chain(one.s(1), one.s(5), one.s(more=7)))
    assert [(), (0,), (1,)] == [new.depends_on for new in (first, second, third)]
    assert ("[1]", "[null,5]", '[null]{"more":7}') == (
        first.args,
        second.args,
        third.args + third.kwargs,
    )
    assert {"args": {"0": 0}} == options(second)["results"]


def test_an_immutable_step_waits_and_takes_nothing() -> None:
    first, second = compiled(chain(one.s(1), note.si("done")))
    assert (0,) == second.depends_on
    assert '["done"]' == second.args
    assert "results" not in options(second)
    assert () == first.depends_on


def test_a_chord_gives_its_callback_the_list() -> None:
    *members, last = compiled(chord(one.map([1, 2, 3]), total.s(2)))
    assert [()] * 3 == [new.depends_on for new in members]
    assert (0, 1, 2) == last.depends_on
    assert {"args": {"0": [0, 1, 2]}} == options(last)["results"]
    assert "[null,2]" == last.args


def test_a_chord_of_one_gives_a_list_too() -> None:
    _, last = compiled(chord(group(one.s(1)), total.s()))
    assert {"args": {"0": [0]}} == options(last)["results"]


def test_every_task_has_the_flow_and_its_own_settings() -> None:
    tasks = compiled(chain(one.s(1), one.options(max_retries=9, tags=["x"]).s(2)))
    assert {FLOW} == {new.flow_id for new in tasks}
    assert {"numbers"} == {new.category for new in tasks}
    assert [2, 9] == [new.max_retries for new in tasks]
    assert ["x"] == options(tasks[1])["tags"]


def test_only_a_list_of_one_needs_to_be_told() -> None:
    assert [None, None] == [new.options for new in compiled(chain(one.s(1), note.si("x")))]
    assert [None, None] == [new.options for new in compiled(group(one.s(1), one.s(2)))]
    *_, last = compiled(chain(one.s(1), one.s(2), group(one.s(3))))
    assert {"listed": True} == options(last)["flow"]
    [only] = compiled(group(one.options(tags=["x"]).s(1)))
    assert {"tags": ["x"], "flow": {"listed": True}} == options(only)


def test_the_rule_for_failed_parents_is_stored_with_a_step_that_only_waits() -> None:
    last = note.options(on_parent_failure=OnParentFailure.RUN).si("over")
    assert "run" == options(compiled(chain(one.s(1), last))[1])["on_parent_failure"]


def test_tasks_outside_of_the_flow_can_be_named() -> None:
    first, second = compiled(chain(one.options(depends_on=[TASK]).s(1), one.s(ResultOf(TASK))))
    assert (TASK,) == first.depends_on
    assert {TASK, 0} == set(second.depends_on)


# -- a flow of any shape --------------------------------------------------------


def test_nodes_keys_and_results_in_any_order() -> None:
    flow = Flow()
    flow.add(total.s([ResultOf("left"), ResultOf("right")]), key="sum", after=["log"])
    left = flow.add(one.s(1), key="left")
    flow.add(one.s(ResultOf(left), more=1), key="right", after=[left])
    flow.add(note.s("x"), key="log")
    tasks = compiled(flow)
    assert ["left", "right", "log", "sum"] == [options(new)["flow"]["key"] for new in tasks]
    assert [(), (0,), (), (0, 1, 2)] == [new.depends_on for new in tasks]
    assert {"args": {"0": [0, 1]}} == options(tasks[3])["results"]


def test_what_is_named_before_it_is_added_is_enqueued_before() -> None:
    flow = Flow()
    flow.add(one.s(1), key="late", after=["early"])
    flow.add(one.s(2), key="early")
    flow.add(one.s(3))
    assert ["early", "late", None] == [
        options(new).get("flow", {}).get("key") for new in compiled(flow)
    ]


def test_a_key_is_never_taken_by_a_task_without_one() -> None:
    flow = Flow()
    free = int(flow.add(one.s(1)).key[1:])
    for ahead in range(1, 20):
        flow.add(one.s(1), key=f"#{free + ahead}")
    flow.add(one.s(1))
    assert 21 == len(flow.nodes)


def test_a_list_that_is_an_argument_stays_what_it_is() -> None:
    flow = Flow()
    flow.add(total.s([1, 2, 3]))
    assert "[[1,2,3]]" == compiled(flow)[0].args


def test_a_chain_of_many_needs_no_stack() -> None:
    tasks = compiled(chain(one.s(1), *(one.s() for _ in range(9_999))))
    assert [(), *((at,) for at in range(9_999))] == [new.depends_on for new in tasks]


# -- what is refused --------------------------------------------------------------


def refused(flow: Flow | Step[Any], match: str) -> None:
    with pytest.raises(InvalidCallError, match=match):
        compiled(flow)


def test_a_flow_of_nothing() -> None:
    refused(Flow(), r"A flow has 1 to 100,000 tasks, this one has 0")


def test_a_flow_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MOST_TASKS", 3)
    refused(one.map(range(4)), r"1 to 3 tasks, this one has 4.*split it")
    assert 3 == len(compiled(one.map(range(3))))


def test_two_groups_that_all_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MOST_EDGES", 9)
    assert 6 == len(compiled(chain(one.map(range(3)), total.map(range(3)))))
    refused(chain(one.map(range(4)), total.map(range(3))), r"put one step between")


def test_a_cycle_is_named() -> None:
    flow = Flow()
    flow.add(note.s("x"), after=["a"])
    flow.add(one.s(1), key="a", after=["b"])
    flow.add(one.s(ResultOf("a")), key="b")
    refused(flow, r"cycle.*Task 'b' \(one\) → Task 'a' \(one\) → Task 'b' \(one\)")


def test_a_task_after_itself() -> None:
    flow = Flow()
    flow.add(one.s(1), key="me", after=["me"])
    refused(flow, r"Task 'me' \(one\) → Task 'me' \(one\)\. Take one")


def test_a_long_cycle_is_cut() -> None:
    flow = Flow()
    for at in range(50):
        flow.add(one.s(1), key=f"k{at}", after=[f"k{(at + 1) % 50}"])
    refused(flow, r"… \(41 more\) … → Task 'k\d+' \(one\)\.")


@pytest.mark.parametrize("after", [["fecth"], []])
def test_an_unknown_key(after: list[str]) -> None:
    flow = Flow()
    flow.add(one.s(1), key="fetch")
    flow.add(one.s(1) if after else one.s(ResultOf("fecth")), key="next", after=after)
    refused(flow, r"Task 'next' \(one\) comes after 'fecth'.*Did you mean 'fetch'\?")


def test_a_number_instead_of_a_node() -> None:
    flow = Flow()
    flow.add(one.s(1))
    flow.add(one.s(ResultOf(0)))
    refused(flow, r"one takes ResultOf\(0\): in a flow tasks are named")


def test_a_unique_key() -> None:
    refused(chain(one.s(1), one.options(unique_key="k").s(1)), r"one has unique_key='k'")


def test_a_call_that_does_not_fit() -> None:
    refused(chain(one.s(1), one.s("text")), r"Argument 'more' of task 'one'")
    refused(chain(one.s(1), note.s("too", "many")), r"'note'")
    refused(group(one.s()), r"'number'")


def test_an_unknown_task() -> None:
    with pytest.raises(TaskNotRegisteredError, match="Did you mean 'total'"):
        compiled(chain(one.s(1), Signature("totla")))


def test_an_unknown_option() -> None:
    refused(group(Signature("one", (1,), options={"dely": 1})), r"no option 'dely'")


def test_wrong_nodes_are_refused_where_they_are_added() -> None:
    flow = Flow()
    node = flow.add(one.s(1), key="a")
    other = Flow()
    with pytest.raises(InvalidCallError, match=r"takes one call.*not Composition"):
        flow.add(chain(one.s(1)))  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match=r"has a task with the key 'a' already: one"):
        flow.add(one.s(2), key="a")
    with pytest.raises(InvalidCallError, match=r"can't be a key: it looks like the id"):
        flow.add(one.s(2), key=TASK)
    with pytest.raises(InvalidCallError, match=r"after must be a list.*after=\[node\]"):
        flow.add(one.s(2), after="a")
    with pytest.raises(InvalidCallError, match=r"task of another flow: one.*depends_on"):
        other.add(one.s(2), after=[node])
    with pytest.raises(InvalidCallError, match=r"a key in after must be a str"):
        flow.add(one.s(2), after=[3])  # type: ignore[list-item]
    assert ["a"] == list(flow.nodes)
    with pytest.raises(InvalidCallError, match=r"enqueue_flow\(\) is made of"):
        flow_of(one)  # type: ignore[arg-type]
