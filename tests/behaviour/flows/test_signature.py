"""How calls are put together: which takes the results of which."""

from __future__ import annotations

from typing import Any

import pytest

from wopr import InvalidCallError, TaskQueue
from wopr.calls.signature import Step, composition
from wopr.flows import Composition, Flow, Signature, chain, chord, group

A, B, C, D = (Signature[str](name) for name in "abcd")


def edges(step: Step[Any]) -> list[str]:
    """Write each task with those whose results it takes; a list in brackets."""
    parts = composition(step, "test").parts
    texts = []
    for part in parts:
        names = ",".join(parts[parent].signature.name for parent in part.parents)
        texts.append(f"{part.signature.name}({f'[{names}]' if part.listed else names})")
    return texts


def result(step: Step[Any]) -> str:
    """Write the result of the whole."""
    whole = composition(step, "test")
    names = ",".join(whole.parts[last].signature.name for last in whole.lasts)
    return f"[{names}]" if whole.listed else names


@pytest.mark.parametrize(
    ("step", "expected", "gives"),
    [
        (A, ["a()"], "a"),
        (chain(A), ["a()"], "a"),
        (chain(A, B, C), ["a()", "b(a)", "c(b)"], "c"),
        (chain(chain(A, B), chain(C, D)), ["a()", "b(a)", "c(b)", "d(c)"], "d"),
        (group(A), ["a()"], "[a]"),
        (group(A, B), ["a()", "b()"], "[a,b]"),
        (group(group(A, B), C), ["a()", "b()", "c()"], "[a,b,c]"),
        (group(chain(A, B), C), ["a()", "b(a)", "c()"], "[b,c]"),
        (chord(group(A, B), C), ["a()", "b()", "c([a,b])"], "c"),
        (chord(group(A), B), ["a()", "b([a])"], "b"),
        (chain(A, group(B, C), D), ["a()", "b(a)", "c(a)", "d([b,c])"], "d"),
        (chain(group(A, B), group(C, D)), ["a()", "b()", "c([a,b])", "d([a,b])"], "[c,d]"),
        (
            chain(A, group(chain(B, C), D), A),
            ["a()", "b(a)", "c(b)", "d(a)", "a([c,d])"],
            "a",
        ),
        (
            group(chord(group(A, B), C), chain(D, group(A))),
            ["a()", "b()", "c([a,b])", "d()", "a(d)"],
            "[c,a]",
        ),
        (chain(group(group(A), chain(B)), C), ["a()", "b()", "c([a,b])"], "c"),
        (A | B | C, ["a()", "b(a)", "c(b)"], "c"),
        (A | (B | C), ["a()", "b(a)", "c(b)"], "c"),
        (group(A, B) | C, ["a()", "b()", "c([a,b])"], "c"),
        (A | group(B, C) | D, ["a()", "b(a)", "c(a)", "d([b,c])"], "d"),
        (chord(group(A, B))(C), ["a()", "b()", "c([a,b])"], "c"),
        (chord(step for step in (A, B))(C | D), ["a()", "b()", "c([a,b])", "d(c)"], "d"),
        (A.then(B).then(C), ["a()", "b(a)", "c(b)"], "c"),
        (group(A, B).then(C), ["a()", "b()", "c([a,b])"], "c"),
        (chain(step for step in (A, B)), ["a()", "b(a)"], "b"),
        (group(step for step in (A, B)), ["a()", "b()"], "[a,b]"),
        (chord((step for step in (A, B)), C), ["a()", "b()", "c([a,b])"], "c"),
    ],
)
def test_a_composition_has_these_edges_and_this_result(
    step: Step[Any], expected: list[str], gives: str
) -> None:
    assert expected == edges(step)
    assert gives == result(step)


def test_a_step_may_be_used_twice() -> None:
    assert ["a()", "a(a)", "a(a)"] == edges(chain(A, group(A, A)))


def test_deep_nesting_costs_no_stack() -> None:
    step: Step[Any] = A
    for _ in range(1_500):
        step = chain(group(step), B)
    assert 1_501 == len(composition(step, "test").parts)


def test_a_chain_that_grows_step_by_step_is_a_chain() -> None:
    step: Step[Any] = A
    for _ in range(10_000):
        step = chain(step, B)
    parts = composition(step, "test").parts
    assert [(), *((number,) for number in range(10_000))] == [part.parents for part in parts]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (chain, r"chain\(\) of nothing"),
        (group, r"group\(\) of nothing"),
        (lambda: chain(step for step in ()), r"chain\(\) of nothing"),
        (lambda: group(step for step in ()), r"group\(\) of nothing"),
        (lambda: chord((step for step in ()), A), r"chord\(\) of nothing"),
        (lambda: TaskQueue().task(name="a")(str).map([]), r"map\(\) of nothing"),
        (lambda: TaskQueue().task(name="a")(str).starmap([]), r"starmap\(\) of nothing"),
        (lambda: TaskQueue().task(name="a")(str).chunks([], 2), r"chunks\(\) of nothing"),
    ],
)
def test_a_composition_of_nothing_is_refused(make: Any, word: str) -> None:
    with pytest.raises(InvalidCallError, match=f"{word} would never give a result.*if items"):
        make()


def test_what_is_no_step_is_refused_with_what_is_one() -> None:
    async def plain() -> None: ...

    with pytest.raises(InvalidCallError, match=r"chain\(\) is made of task\.s.*not of function"):
        chain(plain)  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match=r"not of list.*Write group\(\*steps\)"):
        group([A, B])  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match=r"made of task\.s"):
        chain(A, Flow())  # type: ignore[arg-type]


def test_a_chord_needs_a_list_in_front() -> None:
    with pytest.raises(InvalidCallError, match=r"takes a group and a callback"):
        chord(A, B)  # type: ignore[arg-type]


def test_a_task_makes_signatures_with_its_options() -> None:
    queue = TaskQueue()

    @queue.task(name="add")
    async def add(a: int, b: int = 0) -> int:
        return a + b

    one = add.s(1, b=2)
    assert ("add", (1,), {"b": 2}, False) == (one.name, one.args, one.kwargs, one.immutable)
    assert add.si(1).immutable
    bound = add.options(max_retries=3)
    assert {"max_retries": 3} == bound.s().options == bound.si(1).options
    mapped = bound.map(range(3))
    assert isinstance(mapped, Composition)
    assert [(0,), (1,), (2,)] == [part.signature.args for part in mapped.parts]
    assert [{"max_retries": 3}] * 3 == [part.signature.options for part in mapped.parts]


def test_map_takes_an_item_as_one_argument() -> None:
    queue = TaskQueue()

    @queue.task(name="size")
    async def size(pair: tuple[int, int]) -> int:
        return pair[0] * pair[1]

    assert [((1, 2),)] == [part.signature.args for part in size.map([(1, 2)]).parts]
    with pytest.raises(InvalidCallError, match=r"map\(\) takes the arguments of the calls.*7"):
        size.map(7)  # type: ignore[arg-type]


def test_starmap_takes_an_item_as_all_arguments() -> None:
    queue = TaskQueue()

    @queue.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    both = add.options(max_retries=3).starmap(pair for pair in [(1, 2), [3, 4]])
    assert [(1, 2), (3, 4)] == [part.signature.args for part in both.parts]
    assert [{"max_retries": 3}] * 2 == [part.signature.options for part in both.parts]
    assert [(1, 2)] == [part.signature.args for part in add.starmap([(1, 2)]).parts]
    with pytest.raises(InvalidCallError, match=r"a tuple or a list each, not 7. .*go to map\(\)"):
        add.starmap([(1, 2), 7])  # type: ignore[list-item]
    with pytest.raises(InvalidCallError, match=r"starmap\(\) takes .* not 7"):
        add.starmap(7)  # type: ignore[arg-type]


def test_chunks_are_lists_of_so_many_items() -> None:
    queue = TaskQueue()

    @queue.task(name="total")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    chunks = total.chunks(iter(range(5)), 2)
    assert [([0, 1],), ([2, 3],), ([4],)] == [part.signature.args for part in chunks.parts]
    assert [([0, 1],)] == [part.signature.args for part in total.options().chunks([0, 1], 2).parts]
    for size in (0, -1, 1.5, "2"):
        with pytest.raises(InvalidCallError, match="size"):
            total.chunks([1], size)  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match=r"chunks\(\) takes .* not 7"):
        total.chunks(7, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: chain(chord(group(A, B))), r"no callback yet: chord\(header\)\(callback\), or"),
        (lambda: chord([A, B], C), r"Write chord\(group\(\*steps\), callback\)\."),
        (lambda: chain([A, B]), r"Write chain\(\*steps\)\."),
        (lambda: group(A, (step for step in (B, C))), r"Write group\(\*steps\)\."),
        (lambda: composition([A], "enqueue_flow"), r"Write group\(\*steps\), or chain\(\*steps\)"),
        (lambda: chain(TaskQueue().task(name="a")(str)), r"Write a\.s\(…\), with the arguments"),
        (lambda: A.then(TaskQueue().task(name="a")(str)), r"Write a\.s\(…\), with the arguments"),
        (lambda: A | "b", r"chain\(\) is made of task\.s"),
    ],
    ids=["no callback", "header", "list", "mixed", "enqueue", "task", "then", "or"],
)
def test_the_hint_says_what_to_write(make: Any, hint: str) -> None:
    with pytest.raises(InvalidCallError, match=hint):
        make()
