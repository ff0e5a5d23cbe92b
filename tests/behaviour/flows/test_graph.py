"""The order of a graph, and its cycles."""

from __future__ import annotations

import random

import pytest

from wopr.flows.graph import enqueue_order, find_cycle

MANY = 10_000


def respects(order: list[int], parents: list[list[int]]) -> bool:
    place = {number: at for at, number in enumerate(order)}
    return all(
        place[parent] < place[number] for number, mine in enumerate(parents) for parent in mine
    )


def test_what_is_in_order_stays_as_it_is() -> None:
    assert [0, 1, 2, 3] == enqueue_order([[], [0], [], [1, 2]])


def test_a_task_named_before_its_parent_comes_after_it() -> None:
    assert [1, 0, 2] == enqueue_order([[1], [], [0]])


def test_a_parent_named_twice_counts_once() -> None:
    assert [0, 1] == enqueue_order([[], [0, 0]])


@pytest.mark.parametrize("seed", range(5))
def test_every_edge_of_a_large_graph_is_respected(seed: int) -> None:
    rng = random.Random(seed)
    names = list(range(MANY))
    rng.shuffle(names)  # names[i] may depend on names before it
    parents: list[list[int]] = [[] for _ in names]
    for at in range(1, MANY):
        parents[names[at]] = [names[rng.randrange(at)] for _ in range(3)]
    order = enqueue_order(parents)
    assert sorted(order) == sorted(names)
    assert respects(order, parents)
    assert [] == find_cycle(parents)


def test_a_chain_of_many_written_backwards_is_turned_round() -> None:
    parents = [[number + 1] for number in range(MANY - 1)] + [[]]
    assert list(range(MANY))[::-1] == enqueue_order(parents)


def test_a_task_after_itself_is_a_cycle() -> None:
    assert [1] == find_cycle([[], [1], [1]])


def test_a_cycle_is_named_in_the_order_of_its_arrows() -> None:
    cycle = find_cycle([[], [0, 3], [1], [2], [3]])
    assert [1, 2, 3] == cycle[cycle.index(1) :] + cycle[: cycle.index(1)]


def test_what_only_follows_a_cycle_is_not_named() -> None:
    assert {1, 2} == set(find_cycle([[2], [2], [1], [0]]))


def test_a_cycle_of_many_is_found() -> None:
    parents = [[(number - 1) % MANY] for number in range(MANY)]
    assert set(range(MANY)) == set(find_cycle(parents))
    assert [] == enqueue_order(parents)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_found_is_a_cycle(seed: int) -> None:
    rng = random.Random(seed)
    parents = [[rng.randrange(30) for _ in range(rng.randrange(2))] for _ in range(30)]
    cycle = find_cycle(parents)
    if cycle:
        arrows = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        assert all(before in parents[after] for before, after in arrows)
    else:
        assert respects(enqueue_order(parents), parents)
        assert 30 == len(enqueue_order(parents))
