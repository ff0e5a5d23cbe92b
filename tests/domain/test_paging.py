"""What a page of waiting tasks can miss: a task that comes back while the page is being read."""

from __future__ import annotations

from datetime import datetime, timedelta

from wopr.domain.task import TaskRecord
from wopr.engine.pools.lanes import Key, Lanes

NOW = datetime(2026, 1, 1, 12)
NORMAL = 2


def _record(seq: int, run_at: datetime | None = None) -> TaskRecord:
    record = TaskRecord(f"id-{seq}", "t", "c", NORMAL, 3, "[]", "{}", NOW, run_at)
    record.seq = seq
    return record


def test_a_task_that_comes_back_while_its_lane_is_paged_in_is_in_the_next_page() -> None:
    lanes = Lanes(window=4)
    lanes.reset(NOW)
    lanes.page_started(Key(NORMAL, at_front=False))

    kept = lanes.push(_record(7), NOW)  # a retry: its commit came after the page was read
    lanes.page_ended(Key(NORMAL, at_front=False), last=20, full=False)

    assert not kept
    assert ((NORMAL, False), 6) in lanes.lanes_to_page()


def test_a_task_that_comes_back_while_delayed_ones_are_paged_in_is_in_the_next_page() -> None:
    lanes = Lanes(window=4)
    lanes.reset(NOW)
    lanes.later_started()

    soon = NOW + timedelta(seconds=1)
    kept = lanes.push(_record(7, soon), NOW)
    lanes.later_ended(NOW + timedelta(days=1), full=True)

    assert not kept
    assert soon == lanes.later_beyond


def test_a_whole_page_without_newcomers_moves_the_bound_to_its_last_task() -> None:
    lanes = Lanes(window=4)
    lanes.reset(NOW)
    lanes.page_started(Key(NORMAL, at_front=False))
    lanes.page_ended(Key(NORMAL, at_front=False), last=20, full=True)

    assert ((NORMAL, False), 20) in lanes.lanes_to_page()
