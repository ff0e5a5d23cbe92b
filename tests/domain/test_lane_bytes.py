"""What waits in memory is bounded in bytes, over all lanes of a queue."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from support.records import NOW, claimed, record
from wopr.domain.task import TaskRecord
from wopr.engine.memory import Memory
from wopr.engine.pools.lanes import Key, Lanes
from wopr.ports.storage import PAGE_BYTES, weight

NORMAL = 2
LANE = Key(NORMAL, at_front=False)
BIG = 10_000
"""Bytes that a large task of these tests weighs."""


def large(seq: int, *, seconds: float | None = None, priority: int = NORMAL) -> TaskRecord:
    run_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    one = record(seq, priority=priority, run_at=run_at)
    one.args = "x" * (BIG - 200 - len(one.kwargs))
    assert BIG == weight(one)
    return one


def kept(lanes: Lanes, tasks: list[TaskRecord]) -> list[int]:
    """Push tasks; return the seqs of those that memory took."""
    return [one.seq for one in tasks if lanes.push(one, NOW)]


def drained(lanes: Lanes) -> list[int]:
    found = []
    while (one := lanes.pop()) is not None:
        found.append(one.seq)
    return found


def test_one_lane_alone_takes_half_of_the_memory() -> None:
    lanes = Lanes(memory=Memory(20 * BIG))
    assert list(range(1, 11)) == kept(lanes, [large(seq) for seq in range(1, 31)])
    assert 10 * BIG == lanes.memory.free
    assert list(range(1, 11)) == drained(lanes)
    assert [(LANE, 10)] == lanes.lanes_to_page()


def test_small_tasks_are_bounded_by_their_number_only() -> None:
    lanes = Lanes(window=100)
    assert 100 == len(kept(lanes, [record(seq) for seq in range(1, 200)]))


def test_several_lanes_share_and_one_that_comes_new_finds_room() -> None:
    memory = Memory(60 * BIG)
    first, second, third = [Lanes(memory=memory) for _ in range(3)]
    assert 30 == len(kept(first, [large(seq) for seq in range(1, 100)]))
    assert 15 == len(kept(second, [large(seq) for seq in range(1, 100)]))
    assert 8 == len(kept(third, [large(seq) for seq in range(1, 100)]))
    assert 7 * BIG == memory.free


def test_delayed_tasks_count_as_well() -> None:
    lanes = Lanes(memory=Memory(20 * BIG))
    assert 10 == len(kept(lanes, [large(seq, seconds=seq) for seq in range(1, 31)]))
    assert NOW + timedelta(seconds=11) == lanes.later_beyond
    assert 5 == len(kept(lanes, [large(seq) for seq in range(31, 60)]))


@pytest.mark.parametrize("seconds", [None, 5.0])
def test_a_task_alone_is_taken_page_by_page_whatever_it_weighs(seconds: float | None) -> None:
    lanes = Lanes(memory=Memory(BIG // 2))
    lanes.memory.free = -BIG
    lanes.reset(NOW)
    asked = lanes.page_started(LANE) if seconds is None else lanes.later_started()
    assert 1 == asked
    one = large(1, seconds=seconds)
    if seconds is None:
        lanes.page_ended(LANE, 1, full=True)
    else:
        lanes.later_ended(one.run_at, full=True)
    lanes.add_paged(one, NOW)
    assert [] == lanes.trim()
    assert 1 == lanes.qsize()


def test_a_page_asks_for_a_quarter_of_what_is_free_and_sets_it_aside() -> None:
    lanes = Lanes(memory=Memory(4 * BIG))
    lanes.reset(NOW)
    keys = [key for key, _ in lanes.lanes_to_page()]
    asked = [lanes.page_started(key) for key in keys]
    assert BIG == asked[0]
    assert asked == sorted(asked, reverse=True)
    assert 4 * BIG - sum(asked) == lanes.memory.free
    for key in keys:
        lanes.page_ended(key, None, full=False)
    later = lanes.later_started()
    lanes.later_failed()
    assert (BIG, 4 * BIG) == (later, lanes.memory.free)


def test_a_page_is_never_larger_than_the_storage_allows() -> None:
    assert PAGE_BYTES == Lanes(memory=Memory(1_000 * PAGE_BYTES)).page_started(LANE)


def test_a_lane_is_refilled_before_it_runs_dry() -> None:
    lanes = Lanes(memory=Memory(20 * BIG))
    kept(lanes, [large(seq) for seq in range(1, 31)])
    taken = 0
    while not lanes.lanes_to_page():
        assert lanes.pop() is not None
        taken += 1
    assert 4 * (10 - taken) * BIG <= lanes.memory.free
    assert taken < 10


def test_what_comes_back_has_its_place_and_what_is_too_much_is_left_to_the_storage() -> None:
    lanes = Lanes(memory=Memory(40 * BIG))
    lanes.add_paged(large(100), NOW)
    lanes._lanes[LANE].newest = 100
    tasks = [large(seq) for seq in range(1, 41)]  # e.g. put back in their queue by hand
    assert 40 == len(kept(lanes, tasks))
    assert lanes.memory.free < 0
    left = [one.seq for one in lanes.trim()]
    assert left == sorted(left)
    assert 100 == left[-1]
    stayed = drained(lanes)
    assert [*stayed, *left] == [*range(1, 41), 100]
    assert [(LANE, stayed[-1])] == lanes.lanes_to_page()
    assert 40 * BIG == lanes.memory.free


def test_delayed_tasks_that_are_too_much_are_left_too_but_never_the_first() -> None:
    lanes = Lanes(memory=Memory(BIG))
    for seq in (1, 2, 3):
        lanes.add_paged(large(seq, seconds=seq), NOW)
    assert [2, 3] == [one.seq for one in lanes.trim()]
    assert NOW + timedelta(seconds=2) == lanes.later_beyond
    assert 0 == lanes.memory.free


def test_the_next_page_of_one_moment_is_not_asked_for_again_and_again() -> None:
    lanes = Lanes(window=40)
    soon = NOW + timedelta(seconds=5)
    lanes.reset(NOW)
    for _ in range(2):  # the first begins at an earlier moment, so there may be others
        assert lanes.wants_later(NOW - timedelta(seconds=1))
        lanes.later_started()
        lanes.later_ended(soon, full=True)
    assert not lanes.wants_later(NOW)
    assert soon == lanes.next_due()
    lanes.promote(soon)
    assert lanes.wants_later(soon)
    assert 4 == len(lanes.lanes_to_page())


def page(lanes: Lanes, rng: random.Random) -> None:
    for key, _ in lanes.lanes_to_page():
        lanes.page_started(key)
        if rng.random() < 0.2:
            lanes.page_failed(key)
        else:
            lanes.page_ended(key, None, full=rng.random() < 0.5)


def push(lanes: Lanes, one: TaskRecord, now: datetime, rng: random.Random) -> None:
    lanes.push(one, now)
    if rng.random() < 0.1:
        claimed(one)  # it is left out when its turn comes
        one.error = "e" * rng.randint(0, BIG)  # and weighs something else by then


def go_on(lanes: Lanes, now: datetime) -> None:
    lanes.promote(now)
    lanes.next_due()


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_counted_right_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    memory = Memory(30 * BIG)
    both = [Lanes(window=8, memory=memory) for _ in range(2)]
    now = NOW
    for seq in range(400):
        lanes = rng.choice(both)
        one = large(seq, seconds=rng.choice([None, None, 1.0, 9.0]), priority=rng.randint(1, 4))
        one.args = "x" * rng.randint(0, BIG)
        now += timedelta(seconds=rng.choice([0.0, 0.0, 0.0, 0.5, 5.0]))
        steps: list[Callable[[], object]] = [
            partial(push, lanes, one, now, rng),
            partial(lanes.add_paged, one, now),
            partial(go_on, lanes, now),
            partial(page, lanes, rng),
            lanes.pop,
            lanes.trim,
        ]
        rng.choices(steps, weights=[8, 2, 2, 2, 4, 1])[0]()
        waiting = [item for some in both for item in (*some._lanes.values(), some._later)]
        assert 30 * BIG == memory.free + sum(item.bytes for item in waiting)
        for item in waiting:
            assert item.bytes == sum(entry[-2] for entry in item.heap)
