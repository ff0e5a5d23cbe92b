"""What runs next, with bounded memory."""

from __future__ import annotations

from datetime import timedelta

from support.records import NOW, claimed, record
from wopr.domain.task import TaskRecord
from wopr.engine.pools.lanes import Key, Lanes

SOON, LATER = NOW + timedelta(seconds=5), NOW + timedelta(seconds=50)


def drained(lanes: Lanes) -> list[int]:
    """Return the seqs of all tasks that can start, in order."""
    found = []
    while (one := lanes.pop()) is not None:
        found.append(one.seq)
    return found


def filled(window: int, count: int) -> tuple[Lanes, list[TaskRecord]]:
    """Push ``count`` tasks; return the lanes and the tasks that memory did not take."""
    lanes = Lanes(window)
    tasks = [record(seq) for seq in range(1, count + 1)]
    return lanes, [one for one in tasks if not lanes.push(one, NOW)]


def test_higher_priorities_come_first_then_lower_seqs() -> None:
    lanes = Lanes()
    for seq, priority in enumerate([1, 2, 4, 2, 3, 4], start=1):
        lanes.push(record(seq, priority=priority), NOW)
    assert [3, 6, 5, 2, 4, 1] == drained(lanes)
    assert lanes.empty()


def test_a_task_that_comes_back_takes_its_old_place() -> None:
    lanes = Lanes()
    for seq in (5, 9, 2):
        lanes.push(record(seq), NOW)
    assert [2, 5, 9] == drained(lanes)


def test_what_is_no_longer_claimable_is_left_out() -> None:
    lanes = Lanes()
    tasks = [record(seq) for seq in range(1, 4)]
    for one in tasks:
        lanes.push(one, NOW)
    claimed(tasks[1])
    assert [1, 3] == drained(lanes)


def test_a_delayed_task_becomes_due() -> None:
    lanes = Lanes()
    lanes.push(record(1, run_at=LATER), NOW)
    lanes.push(record(2, run_at=SOON), NOW)
    lanes.push(record(3, run_at=NOW), NOW)
    assert (SOON, 3) == (lanes.next_due(), lanes.qsize())
    assert [3] == drained(lanes)
    lanes.promote(SOON)
    assert [2] == drained(lanes)
    assert LATER == lanes.next_due()
    lanes.promote(LATER)
    assert [1] == drained(lanes)
    assert None is lanes.next_due()


def test_a_cancelled_delayed_task_wakes_nobody() -> None:
    lanes = Lanes()
    one = record(1, run_at=SOON)
    lanes.push(one, NOW)
    claimed(one)
    assert None is lanes.next_due()


def test_memory_keeps_a_window_and_the_rest_stays_in_the_storage() -> None:
    lanes, left = filled(window=4, count=10)
    assert (4, [5, 6, 7, 8, 9, 10]) == (lanes.qsize(), [one.seq for one in left])
    assert [1, 2, 3, 4] == drained(lanes)
    assert [((2, False), 4)] == lanes.lanes_to_page()


def test_nothing_overtakes_what_is_in_the_storage_only() -> None:
    lanes, _ = filled(window=4, count=10)
    assert False is lanes.push(record(11), NOW)
    assert [1, 2, 3, 4] == drained(lanes)
    lanes.push(record(20, priority=1), NOW)
    assert None is lanes.pop()  # the page of the higher priority comes first
    assert False is lanes.idle(NOW)


def test_a_higher_priority_does_not_wait_for_a_lower_one_s_page() -> None:
    lanes, _ = filled(window=4, count=10)
    drained(lanes)
    lanes.push(record(12, priority=4), NOW)
    assert [12] == drained(lanes)


def test_a_page_brings_the_next_ones_and_the_last_page_ends_it() -> None:
    lanes, left = filled(window=4, count=6)
    drained(lanes)
    [(priority, after)] = lanes.lanes_to_page()
    lanes.page_started(priority)
    assert [] == lanes.lanes_to_page()  # one page at a time
    for one in left:
        lanes.add_paged(one, NOW)
    lanes.page_ended(priority, left[-1].seq, full=False)
    assert (4, [5, 6], []) == (after, drained(lanes), lanes.lanes_to_page())
    assert True is lanes.idle(NOW)
    assert True is lanes.push(record(7), NOW)


def test_a_page_that_failed_is_asked_for_again() -> None:
    lanes, _ = filled(window=4, count=6)
    drained(lanes)
    [wanted] = lanes.lanes_to_page()
    lanes.page_started(wanted[0])
    lanes.page_failed(wanted[0])
    assert [wanted] == lanes.lanes_to_page()


def test_delayed_tasks_are_bounded_too() -> None:
    lanes = Lanes(4)
    moments = [NOW + timedelta(seconds=n) for n in range(1, 9)]
    kept = [lanes.push(record(n, run_at=moment), NOW) for n, moment in enumerate(moments, 1)]
    assert [True] * 4 + [False] * 4 == kept
    assert (moments[0], moments[4]) == (lanes.next_due(), lanes.later_beyond)
    assert False is lanes.wants_later(NOW)
    lanes.promote(moments[3])
    assert [1, 2, 3, 4] == drained(lanes)
    assert True is lanes.wants_later(moments[3])


def test_reading_everything_again_also_asks_for_what_a_page_under_way_leaves_out() -> None:
    lanes, _ = filled(window=4, count=6)
    drained(lanes)
    lanes.page_started(Key(2, at_front=False))
    lanes.reset(NOW)
    lanes.page_ended(Key(2, at_front=False), 6, full=False)
    assert ((2, False), 0) in lanes.lanes_to_page()


def test_a_new_task_may_start_at_once_only_if_nothing_waits() -> None:
    lanes = Lanes()
    assert True is lanes.idle(NOW)
    lanes.push(record(1, run_at=SOON), NOW)
    assert (True, False) == (lanes.idle(NOW), lanes.idle(SOON))
    lanes.push(record(2, priority=1), NOW)
    assert False is lanes.idle(NOW)


def test_what_is_due_in_the_storage_only_is_read_before_anything_newer_starts() -> None:
    lanes = Lanes(4)
    for n in range(1, 7):
        lanes.push(record(n, run_at=SOON), NOW)
    lanes.push(record(9), NOW)
    lanes.promote(SOON)
    assert None is lanes.pop()
    assert ((2, False), 0) in lanes.lanes_to_page()
    assert True is lanes.wants_later(SOON)


def test_too_many_due_tasks_are_left_to_the_storage_again_the_newest_first() -> None:
    lanes = Lanes(4)
    for n in range(1, 14):
        lanes.add_paged(record(n), NOW)
    assert [9, 10, 11, 12, 13] == [one.seq for one in lanes.trim()]
    assert [] == lanes.trim()
    assert [1, 2, 3, 4, 5, 6, 7, 8] == drained(lanes)
    assert [((2, False), 8)] == lanes.lanes_to_page()


def test_a_page_under_way_is_not_the_last_if_a_task_before_it_was_left_to_the_storage() -> None:
    lanes = Lanes(2)
    for seq in (5, 6):
        lanes.add_paged(record(seq), NOW)
    lanes._lanes[Key(2, at_front=False)].beyond = 10  # pages up to there were read
    lanes.page_started(Key(2, at_front=False))  # from 10 on
    assert False is lanes.push(record(7), NOW)  # its claim failed, and memory is full
    lanes.page_ended(Key(2, at_front=False), None, full=False)
    assert [5, 6] == drained(lanes)
    assert [((2, False), 6)] == lanes.lanes_to_page()


def test_a_page_of_delayed_tasks_is_not_the_last_if_one_was_left_to_the_storage() -> None:
    lanes = Lanes(1)
    lanes.add_paged(record(1, run_at=SOON), NOW)
    lanes.later_beyond = LATER
    lanes.later_started()
    assert False is lanes.push(record(2, run_at=SOON), NOW)
    lanes.later_ended(None, full=False)
    assert SOON == lanes.later_beyond
